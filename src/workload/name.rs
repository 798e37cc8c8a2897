//! The name of an object, checked where text comes in: only such a name becomes a part of the path of a request.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Serialize};

/// How long a name may be.
const LENGTH: usize = 253;

/// A name that an API server accepts for a workload or a `LogSidecar`: a DNS subdomain
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>). Ledgers, statuses and owner
/// references are texts that users may edit; a name that is none of those would lead to another object.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName(String);

/// A text is not the name of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of an object: write lower case letters, digits, `-` and `.`, with a letter or digit at both ends")]
pub struct ObjectNameError(String);

impl ObjectName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ObjectName {
    type Error = ObjectNameError;

    fn try_from(text: String) -> Result<Self, ObjectNameError> {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label =
            |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_inner);
        if text.len() <= LENGTH && text.split('.').all(is_label) { Ok(Self(text)) } else { Err(ObjectNameError(text)) }
    }
}

impl FromStr for ObjectName {
    type Err = ObjectNameError;

    fn from_str(text: &str) -> Result<Self, ObjectNameError> {
        text.to_owned().try_into()
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.0
    }
}

impl Deref for ObjectName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for ObjectName {
    fn eq(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl PartialEq<&str> for ObjectName {
    fn eq(&self, text: &&str) -> bool {
        self.0 == *text
    }
}

impl PartialEq<String> for ObjectName {
    fn eq(&self, text: &String) -> bool {
        self.0 == *text
    }
}

#[cfg(test)]
impl From<&str> for ObjectName {
    fn from(text: &str) -> Self {
        text.parse().expect("a name")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dns_subdomain_is_a_name() {
        let long = "a".repeat(254);
        for bad in
            ["", ".", "..", "a/b", "../secrets/x", "a%2Fb", "a b", "A", "-a", "a-", "a..b", ".a", "a?x=1", "a#b", "é", &long]
        {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
        }
        for good in ["a", "web-0", "1", "shop.example.com", &long[1..]] {
            assert_eq!(good.parse::<ObjectName>().expect("a name"), *good);
        }
    }
}
