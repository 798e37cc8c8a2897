//! A YAML value that knows the line of each of its parts.

use std::{cell::Cell, fmt};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// How deep values may be nested. Kubernetes' own objects need about 30; each level takes a few stack frames.
const DEPTH: usize = 100;

/// How much text a document may hold once its aliases are expanded, in bytes.
const EXPANDED: usize = 2 * super::LIMIT;

/// How many parts of a document aliases may stand for.
const REPLAYED: usize = 200_000;

/// Begins an error of ours that brings its own line: the parser knows none for what is found wrong after it was read.
const LINE: &str = "line ";

/// A value and its line in the document, counted from 1.
#[derive(Debug)]
pub(super) struct Node {
    line: usize,
    content: NodeContent,
}

#[derive(Debug)]
enum NodeContent {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Parses one document; the error is its line and message.
pub(super) fn parse(text: &str) -> Result<Node, (usize, String)> {
    // Legacy octal: `defaultMode: 0644` means 420 to everything that reads manifests.
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: None,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: REPLAYED },
    };
    USAGE.set(Usage::default());
    let node: Spanned<NodeContent> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = error.without_snippet().to_string();
        if let Some((line, message)) = message.strip_prefix(LINE).and_then(|rest| rest.split_once(": ")) {
            return (line.parse().unwrap_or(1), explain(message));
        }
        let line = error.location().map_or(1, |location| location.line());
        (usize::try_from(line).unwrap_or(1), explain(&message))
    })?;
    Ok(node.into())
}

/// The parser speaks to programmers.
fn explain(message: &str) -> String {
    let known = [
        ("recursion limit exceeded", "nested too deeply"),
        ("nested too deeply", "nested too deeply"),
        ("alias replay", "aliases expand to too much: write out what they stand for"),
        ("aliases expand", "aliases expand to too much: write out what they stand for"),
        ("recursive references require", "an anchor cannot be used inside itself"),
        ("multiple YAML documents detected", "write --- before the next document"),
    ];
    if let Some((_, text)) = known.iter().find(|(start, _)| message.starts_with(start)) {
        return (*text).to_owned();
    }
    let message = message.split(" at line ").next().unwrap_or_default();
    message.split(", set DuplicateKeyPolicy").next().unwrap_or_default().to_owned()
}

#[derive(Clone, Copy, Default)]
struct Usage {
    depth: usize,
    bytes: usize,
}

thread_local! {
    /// What the document that this thread is reading has used up: a `Deserialize` has nowhere else to keep it.
    static USAGE: Cell<Usage> = const { Cell::new(Usage { depth: 0, bytes: 0 }) };
}

fn charge<E: de::Error>(depth: usize, bytes: usize) -> Result<(), E> {
    let Usage { depth: before, bytes: used } = USAGE.get();
    let usage = Usage { depth: before + depth, bytes: used + bytes };
    USAGE.set(usage);
    if usage.depth > DEPTH {
        return Err(E::custom("nested too deeply"));
    }
    if usage.bytes > EXPANDED {
        return Err(E::custom("aliases expand to too much: write out what they stand for"));
    }
    Ok(())
}

fn leave() {
    let Usage { depth, bytes } = USAGE.get();
    USAGE.set(Usage { depth: depth.saturating_sub(1), bytes });
}

impl Node {
    pub(super) fn to_value(&self) -> Value {
        match &self.content {
            NodeContent::Scalar(value) => value.clone(),
            NodeContent::List(list) => list.iter().map(Self::to_value).collect(),
            NodeContent::Map(map) => {
                Value::Object(map.iter().map(|(key, node)| (key.clone(), node.to_value())).collect::<Map<_, _>>())
            }
        }
    }

    /// The line of what a JSON pointer names, or of the deepest thing on the way there.
    pub(super) fn line(&self, pointer: &str) -> usize {
        let steps = pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
        let mut at = self;
        for step in steps {
            let next = match &at.content {
                NodeContent::Scalar(_) => None,
                NodeContent::List(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
                NodeContent::Map(map) => map.iter().find(|(key, _)| *key == step).map(|(_, node)| node),
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        at.line
    }
}

impl From<Spanned<NodeContent>> for Node {
    fn from(Spanned { value, referenced, defined: _ }: Spanned<NodeContent>) -> Self {
        Self { line: usize::try_from(referenced.line()).unwrap_or(1), content: value }
    }
}

impl NodeContent {
    /// A key as JSON has it; `on: 1` is `"true": 1` to kubectl, too.
    fn into_key<E: de::Error>(self, line: usize) -> Result<String, E> {
        let refused = |what: &str| Err(E::custom(format_args!("{LINE}{line}: a key must be text, not {what}")));
        match self {
            Self::Scalar(Value::String(text)) => Ok(text),
            Self::Scalar(Value::Null) => refused("null"),
            Self::Scalar(other) => Ok(other.to_string()),
            Self::List(_) => refused("a list"),
            Self::Map(_) => refused("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for NodeContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = NodeContent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<NodeContent, E> {
        Ok(NodeContent::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<NodeContent, E> {
        Ok(NodeContent::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<NodeContent, E> {
        Ok(NodeContent::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<NodeContent, E> {
        Ok(NodeContent::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<NodeContent, E> {
        Ok(NodeContent::Scalar(value.into()))
    }

    /// `1e3` and `1.0` reach an API server as 1000 and 1: JSON has one kind of number.
    #[allow(clippy::cast_possible_truncation)]
    fn visit_f64<E>(self, value: f64) -> Result<NodeContent, E> {
        let whole = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
        Ok(NodeContent::Scalar(if whole { Value::from(value as i64) } else { Value::from(value) }))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<NodeContent, E> {
        charge(0, value.len())?;
        Ok(NodeContent::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<NodeContent, A::Error> {
        charge(1, 0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<NodeContent>>()? {
            list.push(item.into());
        }
        leave();
        Ok(NodeContent::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<NodeContent, A::Error> {
        charge(1, 0)?;
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<NodeContent>, Spanned<NodeContent>>()? {
            // People look for a field where its name is: a block scalar or a nested map begins on a later line.
            let line = usize::try_from(key.referenced.line()).unwrap_or(1);
            map.push((key.value.into_key(line)?, Node { line, content: value.value }));
        }
        leave();
        Ok(NodeContent::Map(map))
    }
}
