//! Which line begins an entry.
//!
//! The receiver itself puts lines together, by an expression for the first one: what it has not passed on it has not ticked off, so a
//! SIGKILL loses nothing. (The operator `recombine`, which would take an expression for the others, holds in memory what is ticked
//! off already: up to 16 of 4,000 lines were lost by it, measured.) But what is known of stack traces is which lines do *not* begin
//! an entry, and RE2 does not look ahead: so the complement is worked out here, character by character.

use std::collections::BTreeSet;

use crate::api::Language;

/// Which lines belong to the one before: those that are empty or indented, and
struct Continuation {
    /// those that begin with one of these;
    beginnings: &'static [&'static str],
    /// those whose first word says so.
    word: Option<Word>,
}

/// Words that begin with a letter or `_`, go on with letters, digits, `_` and
struct Word {
    /// these,
    others: &'static str,
    /// and belong to the line before if one of these follows,
    closing: &'static str,
    /// or both of these do,
    pair: Option<[char; 2]>,
    /// but for words with one of [`Word::closing`] like this.
    unless: Option<&'static str>,
}

const JAVA: Continuation = Continuation { beginnings: &["Caused by: ", "Suppressed: "], word: None };

/// The name of an exception, or what looks like one (`ValueError`, `requests.exceptions.Timeout`), before a colon or alone.
const PYTHON: Continuation = Continuation {
    beginnings: &["Traceback (", "During handling ", "The above exception "],
    word: Some(Word {
        others: ".",
        closing: ":\r\n",
        pair: None,
        // `myapp.worker: …`, `ERROR:root:…`
        unless: Some(r"(?:\w+\.)*(?:[a-z\d_]\w*|[A-Z\d_]+)"),
    }),
};

/// A call: `net/http.(*conn).serve(0xc0…)`, `main.each[...](…)`.
const GO: Continuation = Continuation {
    beginnings: &["goroutine ", "created by ", "exit status ", "[signal "],
    word: Some(Word { others: "./@~%-", closing: "(", pair: Some(['[', '.']), unless: None }),
};

/// `line_start_pattern`, for lines with their line feeds.
pub(super) fn line_start(language: Language) -> String {
    let rule = match language {
        Language::Java => JAVA,
        Language::Python => PYTHON,
        Language::Go => GO,
    };
    let mut starts: Vec<String> = unlike(rule.beginnings).map(|(path, next)| rule.departs(path, &next)).collect();
    if let Some(Word { unless: Some(unless), closing, .. }) = &rule.word {
        starts.push(format!("{unless}[{}]", set(closing.chars())));
    }
    format!("^(?:{})", starts.join("|"))
}

/// What a line that belongs to the one before may begin with in any case.
const BLANK: &str = " \t\r\n";

impl Continuation {
    /// A line that begins like one of the beginnings up to here, and then goes on with none of those characters.
    fn departs(&self, path: &str, next: &str) -> String {
        let before = regex::escape(path);
        let blank = if path.is_empty() { BLANK } else { "" };
        let Some(word) = self.word.as_ref().filter(|word| path.chars().all(|c| word.has(c))) else {
            return format!("{before}[^{}]", set(next.chars().chain(blank.chars())));
        };
        let first = if path.is_empty() { letters().collect::<String>() } else { word.all().collect() };
        let inside = format!("[{}]{}*", set(first.chars().filter(|c| !next.contains(*c))), word.class());
        if path.is_empty() {
            return format!("[^{}]|{inside}{}", set(letters().chain(blank.chars()).chain(next.chars())), word.follow(""));
        }
        if next.chars().all(|c| word.has(c)) {
            return format!("{before}(?:{inside})?{}", word.follow(""));
        }
        format!("{before}(?:{inside}{}|{})", word.follow(""), word.follow(next))
    }
}

impl Word {
    fn all(&self) -> impl Iterator<Item = char> {
        letters().chain('0'..='9').chain(self.others.chars())
    }

    fn has(&self, c: char) -> bool {
        self.all().any(|other| other == c)
    }

    fn class(&self) -> String {
        format!(r"[\w{}]", set(self.others.chars()))
    }

    /// What follows a word that does not belong to the line before, but for these.
    fn follow(&self, next: &str) -> String {
        let pair = self.pair.iter().map(|[first, _]| *first);
        let single = format!(r"[^\w{}]", set(self.others.chars().chain(self.closing.chars()).chain(pair).chain(next.chars())));
        match self.pair {
            Some(pair) => format!("(?:{single}|{}[^{}])", regex::escape(&pair[0].to_string()), set([pair[1]].into_iter())),
            None => single,
        }
    }
}

/// Everywhere that a text can depart from all of these: what it has in common with some of them, and how those go on.
fn unlike<'a>(all: &[&'a str]) -> impl Iterator<Item = (&'a str, String)> {
    let paths: BTreeSet<&'a str> = all.iter().flat_map(|text| text.char_indices().map(|(at, _)| &text[..at])).collect();
    // What begins with one of them is no departure.
    let paths = paths.into_iter().filter(|path| !all.contains(path)).collect::<Vec<_>>();
    let all = all.to_vec();
    paths.into_iter().map(move |path| {
        let next = all.iter().filter_map(|text| text.strip_prefix(path)?.chars().next());
        (path, next.collect::<BTreeSet<char>>().into_iter().collect())
    })
}

fn letters() -> impl Iterator<Item = char> {
    ('A'..='Z').chain('a'..='z').chain(['_'])
}

/// The inner of a class.
fn set(all: impl Iterator<Item = char>) -> String {
    let all: Vec<char> = all.collect::<BTreeSet<char>>().into_iter().collect();
    let follows =
        |a: &char, b: &char| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric() && u32::from(*a) + 1 == u32::from(*b);
    let runs = all.chunk_by(follows).map(|run| match run {
        ['0', .., '9'] => r"\d".to_owned(),
        [first, _, .., last] => format!("{first}-{last}"),
        few => few
            .iter()
            .map(|c| match c {
                '\t' => r"\t".to_owned(),
                '\r' => r"\r".to_owned(),
                '\n' => r"\n".to_owned(),
                c if c.is_ascii_alphanumeric() || " _./:@~%(".contains(*c) => c.to_string(),
                c => format!("\\{c}"),
            })
            .collect(),
    });
    runs.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use regex::bytes::Regex;

    use super::*;

    /// What belongs to the line before, as one would say it if one could look ahead.
    fn continuation(language: Language) -> Regex {
        let expression = match language {
            Language::Java => r"Caused by: |Suppressed: ",
            Language::Python => r"Traceback \(|During handling |The above exception |[A-Za-z_][\w.]*[:\r\n]",
            Language::Go => r"goroutine |created by |exit status |\[signal |[A-Za-z_][\w./@~%-]*(?:\(|\[\.)",
        };
        Regex::new(&format!(r"^(?-u:[ \t\r\n]|{expression})")).expect("an expression")
    }

    /// But for names that are no exception's, in Python.
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^(?-u:(?:\w+\.)*(?:[a-z\d_]\w*|[A-Z\d_]+))[:\r\n]").expect("an expression"));

    const PIECES: &[&str] = &[
        "Caused by: ",
        "Suppressed: ",
        "Traceback (most recent call last):",
        "During handling of the above exception",
        "The above exception was",
        "builtins.",
        "ValueError",
        "Exception",
        "Exit",
        "Warning",
        "goroutine 1",
        "created by ",
        "exit status 2",
        "[signal SIGSEGV",
        "main.",
        "(*T)",
        "[...]",
        "(0x1)",
        "ERROR",
        ":",
        " ",
        "\t",
        "\r",
        "[",
        "x",
        "é",
        "2026",
    ];

    fn line() -> impl Strategy<Value = String> {
        let piece = prop_oneof![4 => proptest::sample::select(PIECES).prop_map(str::to_owned), 1 => "[ -~]"];
        (proptest::collection::vec(piece, 0..5), any::<proptest::sample::Index>()).prop_map(|(pieces, end)| {
            let text: Vec<char> = pieces.concat().chars().collect();
            let end = end.index(text.len() + 1);
            text[..end].iter().chain(&['\n']).collect()
        })
    }

    /// What the collector compiles, and what belongs to the line before.
    static EXPRESSIONS: LazyLock<Vec<(Language, Regex, Regex)>> = LazyLock::new(|| {
        let all = [Language::Java, Language::Python, Language::Go];
        let start = |language| Regex::new(&format!("(?m-u){}", line_start(language))).expect("an expression");
        all.map(|language| (language, start(language), continuation(language))).into()
    });

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn a_line_begins_an_entry_if_it_belongs_to_none_before_it(lines in proptest::collection::vec(line(), 1..4)) {
            for (language, start, belongs) in EXPRESSIONS.iter() {
                let mut expected = Vec::new();
                let mut at = 0;
                for line in &lines {
                    let line = line.as_bytes();
                    if !belongs.is_match(line) || (*language == Language::Python && NAME.is_match(line)) {
                        expected.push(at);
                    }
                    at += line.len();
                }
                let text = lines.concat();
                let mut found: Vec<usize> = Vec::new();
                let mut from = 0;
                while let Some(hit) = start.find_at(text.as_bytes(), from) {
                    found.push(hit.start());
                    // The next line.
                    from = hit.start() + text[hit.start()..].find('\n').map_or(text.len(), |end| end + 1);
                }
                prop_assert_eq!(&found, &expected, "{:?} in {:?}", language, text);
            }
        }
    }
}
