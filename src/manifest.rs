//! Manifests: YAML or JSON text with any number of documents, and where each field is in it.
//!
//! Read the way `kubectl` reads: YAML 1.1 words and numbers (`on`, `0644`), anchors and merge keys; stricter in one thing, a
//! key that is written twice is an error. Pure: text in, values out.

mod node;

use serde_json::Value;

use node::Node;

/// The size of one file that is read, in bytes. One object of more than about 1.5 MiB does not fit into a cluster.
pub const LIMIT: usize = 32 * 1024 * 1024;

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    /// The name of the file; `-` for standard input.
    pub file: String,
    /// The text as it was written, without the `---` before it.
    pub text: String,
    /// What it says. [`Value::Null`] for a document of comments.
    pub value: Value,
    node: Node,
    offset: usize,
}

impl Document {
    /// The line of a field in the file, or of the nearest thing around it; counted from 1.
    #[must_use]
    pub fn line(&self, pointer: &str) -> usize {
        self.offset + self.node.line(pointer)
    }
}

/// A text that is not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not text.
    #[error("{file}: not a text file (byte {at} is not UTF-8)")]
    NotText {
        /// The name of the file.
        file: String,
        /// The offset of the first bad byte.
        at: usize,
    },
    /// Too large.
    #[error("{file}: larger than {} MiB: split it into several files", LIMIT / 1024 / 1024)]
    TooLarge {
        /// The name of the file.
        file: String,
    },
    /// Not YAML.
    #[error("{file}:{line}: not valid YAML: {message}")]
    Syntax {
        /// The name of the file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Nothing in it.
    #[error("{file}: no Kubernetes object in it")]
    Empty {
        /// The name of the file.
        file: String,
    },
}

/// Reads all documents of a file.
pub fn read(file: &str, bytes: &[u8]) -> Result<Vec<Document>, ReadError> {
    if bytes.len() > LIMIT {
        return Err(ReadError::TooLarge { file: file.to_owned() });
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| ReadError::NotText { file: file.to_owned(), at: error.valid_up_to() })?;
    if let Some(at) = text.bytes().position(|byte| byte == 0) {
        return Err(ReadError::NotText { file: file.to_owned(), at });
    }
    let documents: Vec<Document> = split(text.trim_start_matches('\u{feff}'))
        .into_iter()
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(offset, text)| parse(file, offset, text))
        .collect::<Result<_, _>>()?;
    if documents.iter().all(|document| document.value.is_null()) {
        return Err(ReadError::Empty { file: file.to_owned() });
    }
    Ok(documents)
}

/// Splits at lines that begin with `---`: in YAML no such line can be part of anything else. Returns how many lines come
/// before each document.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut first, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty() || rest.starts_with([' ', '\t']));
        // A directive (`%YAML 1.2`) belongs to the document after its marker.
        if is_marker && !is_directive(&text[start..at]) {
            documents.push((first, &text[start..at]));
            let bare = line[3..].trim().is_empty();
            (start, first) = if bare { (at + line.len(), number + 1) } else { (at, number) };
        }
        at += line.len();
    }
    documents.push((first, &text[start..]));
    documents
}

fn is_directive(text: &str) -> bool {
    text.lines().any(|line| line.starts_with('%'))
        && text.lines().all(|line| line.starts_with(['%', '#']) || line.trim().is_empty())
}

fn parse(file: &str, offset: usize, text: &str) -> Result<Document, ReadError> {
    let node: Node = node::parse(text).map_err(|(line, message)| ReadError::Syntax {
        file: file.to_owned(),
        line: offset + line,
        message,
    })?;
    Ok(Document { file: file.to_owned(), text: text.to_owned(), value: node.to_value(), node, offset })
}

/// Writes a document. Strings that YAML 1.1 would read as something else are quoted.
///
/// # Panics
/// Never: every JSON value is YAML.
#[must_use]
pub fn write(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).expect("JSON is YAML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(text: &str) -> Vec<Value> {
        read("f", text.as_bytes()).expect("readable").into_iter().map(|document| document.value).collect()
    }

    #[test]
    fn documents_are_told_apart_and_their_lines_are_those_of_the_file() {
        let text = "# licence\n---\na: 1\n---\n\n---\nb:\n- c\n- d: |\n    x\n    --- no marker\n";
        let documents = read("f", text.as_bytes()).expect("readable");
        let values: Vec<&Value> = documents.iter().map(|document| &document.value).collect();
        assert_eq!(values, [&Value::Null, &json!({"a": 1}), &json!({"b": ["c", {"d": "x\n--- no marker\n"}]})]);
        assert_eq!(documents[2].line("/b/1/d"), 9);
        assert_eq!(documents[2].line("/b/1/missing"), 9);
        assert_eq!(documents[2].line("/b"), 7);
        assert_eq!(documents[1].line("/a"), 3);
        assert_eq!(documents[0].text, "# licence\n");
    }

    #[test]
    fn words_and_numbers_are_read_as_kubectl_reads_them() {
        let text = "{a: on, b: 'on', c: 0644, d: 12:30, e: 1e3, f: 1.0, g: 0x1F, h: 1_000, i: ~, j: 2001-01-01, k: !!str 5}";
        let expected = json!({"a": true, "b": "on", "c": 420, "d": "12:30", "e": 1000, "f": 1, "g": 31, "h": 1000,
            "i": null, "j": "2001-01-01", "k": "5"});
        assert_eq!(values(text), [expected]);
        assert_eq!(values("a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n"), [json!({"a": {"b": 1}, "c": {"d": 2, "b": 1}})]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let awkward = [
            "on",
            "y",
            "~",
            "null",
            "0644",
            "12:30",
            "1e3",
            "0x1F",
            "=",
            "<<",
            "- a",
            "a: b",
            "a #b",
            " a",
            "a ",
            "",
            "'",
            "\"",
            "a\nb",
            "a\n\n",
            "\n",
            "\t",
            "%a",
            "@a",
            "!a",
            "&a",
            "*a",
            "?",
            "|",
            ">",
            "{",
            "}",
            "[",
            "]",
            ",",
            "é",
            "\u{1}",
            "\u{feff}",
            "2001-01-01",
            ".5",
            "+1",
            "1_0",
            "0b1",
            "0o7",
            "---",
            "...",
            "a\r\nb",
            "trailing \nspace",
        ];
        for text in awkward {
            let value = json!({"key": text, text: [text, {"inner": text}]});
            assert_eq!(values(&write(&value)), [value], "{text:?}");
        }
    }

    #[test]
    fn what_is_not_a_manifest_is_refused_with_its_line() {
        let message = |text: &[u8]| read("f", text).map(|_| ()).expect_err("refused").to_string();
        assert_eq!(message(b""), "f: no Kubernetes object in it");
        assert_eq!(message(b"# only\n---\n"), "f: no Kubernetes object in it");
        assert_eq!(message(b"a: \xff"), "f: not a text file (byte 3 is not UTF-8)");
        assert_eq!(message(b"a: \0"), "f: not a text file (byte 3 is not UTF-8)");
        assert!(message(b"---\na: 1\na: 2\n").starts_with("f:3: not valid YAML: duplicate mapping key: a"));
        assert!(message(b"a: 1\n---\nb: [\n").starts_with("f:3: not valid YAML"));
    }
}
