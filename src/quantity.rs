//! Kubernetes' quantities (`5m`, `1.5Gi`, `2e3`) as exact numbers.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use std::{
    fmt,
    iter::Sum,
    ops::{Add, Sub},
    str::FromStr,
};

use serde_json::Value;

/// Suffixes of whole numbers, with what they stand for.
const BINARY: [(&str, i128); 6] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("Pi", 1 << 50), ("Ei", 1 << 60)];
const DECIMAL: [(&str, u32); 9] =
    [("n", 0), ("u", 3), ("m", 6), ("k", 12), ("M", 15), ("G", 18), ("T", 21), ("P", 24), ("E", 27)];

/// One, as a quantity holds it.
const ONE: i128 = 1_000_000_000;

/// An amount in thousand-millionths, which is as fine as the API server keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number.
    #[must_use]
    pub const fn whole(number: i64) -> Self {
        Self(number as i128 * ONE)
    }

    /// What a manifest says: a string or a number. `None` for what is not a quantity.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.to_string().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The number of thousand-millionths.
    #[must_use]
    pub const fn nano(self) -> i128 {
        self.0
    }

    /// The number of thousandths, rounded up, as the scheduler counts CPUs.
    #[must_use]
    pub fn milli(self) -> i64 {
        self.rounded_up(1_000_000)
    }

    /// The whole number, rounded up, as the scheduler counts bytes.
    #[must_use]
    pub fn value(self) -> i64 {
        self.rounded_up(ONE)
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, number: i64) -> Self {
        Self(self.0.saturating_mul(number.into()))
    }

    fn rounded_up(self, unit: i128) -> i64 {
        let up = i128::from(self.0.rem_euclid(unit) != 0);
        i64::try_from(self.0.div_euclid(unit) + up).unwrap_or(if self.0 < 0 { i64::MIN } else { i64::MAX })
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

/// The text is not a quantity.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a quantity such as 5m or 1.5Gi")]
pub struct ParseQuantityError(String);

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        nano(text).map(Self).ok_or_else(|| ParseQuantityError(text.to_owned()))
    }
}

fn nano(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (factor, power) = match (BINARY.iter().find(|unit| unit.0 == suffix), DECIMAL.iter().find(|unit| unit.0 == suffix)) {
        (Some((_, factor)), _) => (*factor, 9),
        (None, Some((_, power))) => (1, i64::from(*power)),
        (None, None) if suffix.is_empty() => (1, 9),
        (None, None) => (1, i64::from(suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?) + 9),
    };
    let power = power - i64::try_from(fraction.len()).ok()?;
    let ten = 10i128.checked_pow(u32::try_from(power.abs()).ok()?)?;
    let digits = digits.checked_mul(factor)?;
    // What is finer than the API server keeps is rounded away from zero.
    if power < 0 { Some(digits / ten + (digits % ten).signum()) } else { digits.checked_mul(ten) }
}

/// The shortest exact text, binary where both are as short: people write memory so.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = DECIMAL.iter().map(|(suffix, power)| (*suffix, 10i128.pow(*power)));
        let units = BINARY.iter().map(|(suffix, factor)| (*suffix, factor * ONE)).chain([("", ONE)]).chain(decimal);
        let exact = units.filter(|(_, unit)| self.0 % unit == 0).map(|(suffix, unit)| format!("{}{suffix}", self.0 / unit));
        let text = if self.0 == 0 { None } else { exact.min_by_key(String::len) };
        f.write_str(text.as_deref().unwrap_or("0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn quantities_are_equal_if_their_amounts_are() {
        for (a, b) in [
            ("1", "1000m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1e+3", "1k"),
            ("5e-3", "5m"),
            ("0.1", "100m"),
            (".5", "500m"),
            ("2E", "2e18"),
            ("1000u", "1m"),
            ("0.0000000001", "1n"),
            ("-1.5", "-1500m"),
        ] {
            assert_eq!(nano(a), nano(b), "{a} and {b}");
            assert!(nano(a).is_some());
        }
        for bad in ["", "Gi", "1x", "1K", "1ki", "1e", "abc", "1.2.3", "1 Gi", "1e99"] {
            assert_eq!(nano(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_quantity_is_written_as_people_do() {
        for text in ["0", "15m", "2", "64Mi", "1536Mi", "100M", "1T", "1500", "3n", "-64Mi", "1Ei"] {
            assert_eq!(text.parse::<Quantity>().expect("a quantity").to_string(), text);
        }
    }

    #[test]
    fn what_is_scheduled_is_rounded_up() {
        let of = |value| Quantity::read(&value).expect("a quantity");
        assert_eq!((of(json!("100u")).milli(), of(json!(0.5)).milli(), of(json!(2)).milli()), (1, 500, 2000));
        assert_eq!((of(json!("1m")).value(), of(json!("1Mi")).value(), of(json!("-1500m")).value()), (1, 1_048_576, -1));
        assert_eq!(Quantity::read(&json!({})), None);
    }

    proptest! {
        #[test]
        fn every_quantity_is_read_back_from_its_text(nano in any::<i64>(), power in 0..12u32) {
            let quantity = Quantity(i128::from(nano) * 10i128.pow(power));
            prop_assert_eq!(quantity.to_string().parse::<Quantity>().expect("own text"), quantity);
        }
    }
}
