//! Which line begins an entry.
//!
//! The receiver itself puts lines together, by an expression for the first one: what it has not passed on it has not ticked off, so a
//! SIGKILL loses nothing. (The operator `recombine`, which would take an expression for the others, holds in memory what is ticked
//! off already: up to 16 of 4,000 lines were lost by it, measured.) But what is known of stack traces is which lines do *not* begin
//! an entry, and RE2 does not look ahead. So each constant is the complement, character by character; the property test below
//! compares it with the rule as it reads with look-ahead.

use crate::api::Language;

/// Any line but an empty or indented one, `Caused by: ` and `Suppressed: `.
const JAVA: &str = concat!(
    r"^(?:[^\t\n\r CS]|C[^a]|Ca[^u]|Cau[^s]|Caus[^e]|Cause[^d]|Caused[^ ]|Caused [^b]|Caused b[^y]|Caused by[^:]",
    r"|Caused by:[^ ]|S[^u]|Su[^p]|Sup[^p]|Supp[^r]|Suppr[^e]|Suppre[^s]|Suppres[^s]|Suppress[^e]|Suppresse[^d]",
    r"|Suppressed[^:]|Suppressed:[^ ])",
);

/// Any line but an empty or indented one, the headers of a traceback, and the name of an exception before a colon or alone.
/// `myapp.worker: …` and `ERROR:root:…` begin an entry, as these are no exceptions.
const PYTHON: &str = concat!(
    r"^(?:[^\t\n\r A-Z_a-z]|[A-CE-SU-Z_a-z][\w.]*[^\w\n\r.:]|D(?:[.\dA-Z_a-tv-z][\w.]*)?[^\w\n\r.:]",
    r"|Du(?:[.\dA-Z_a-qs-z][\w.]*)?[^\w\n\r.:]|Dur(?:[.\dA-Z_a-hj-z][\w.]*)?[^\w\n\r.:]",
    r"|Duri(?:[.\dA-Z_a-mo-z][\w.]*)?[^\w\n\r.:]|Durin(?:[.\dA-Z_a-fh-z][\w.]*)?[^\w\n\r.:]",
    r"|During(?:[.\dA-Z_a-z][\w.]*[^\w\n\r.:]|[^\w\n\r .:])|During [^h]|During h[^a]|During ha[^n]",
    r"|During han[^d]|During hand[^l]|During handl[^i]|During handli[^n]|During handlin[^g]|During handling[^ ]",
    r"|T(?:[.\dA-Z_a-gi-qs-z][\w.]*)?[^\w\n\r.:]|Th(?:[.\dA-Z_a-df-z][\w.]*)?[^\w\n\r.:]",
    r"|The(?:[.\dA-Z_a-z][\w.]*[^\w\n\r.:]|[^\w\n\r .:])|The [^a]|The a[^b]|The ab[^o]|The abo[^v]|The abov[^e]",
    r"|The above[^ ]|The above [^e]|The above e[^x]|The above ex[^c]|The above exc[^e]|The above exce[^p]",
    r"|The above excep[^t]|The above except[^i]|The above excepti[^o]|The above exceptio[^n]",
    r"|The above exception[^ ]|Tr(?:[.\dA-Z_b-z][\w.]*)?[^\w\n\r.:]|Tra(?:[.\dA-Z_abd-z][\w.]*)?[^\w\n\r.:]",
    r"|Trac(?:[.\dA-Z_a-df-z][\w.]*)?[^\w\n\r.:]|Trace(?:[.\dA-Z_ac-z][\w.]*)?[^\w\n\r.:]",
    r"|Traceb(?:[.\dA-Z_b-z][\w.]*)?[^\w\n\r.:]|Traceba(?:[.\dA-Z_abd-z][\w.]*)?[^\w\n\r.:]",
    r"|Tracebac(?:[.\dA-Z_a-jl-z][\w.]*)?[^\w\n\r.:]|Traceback(?:[.\dA-Z_a-z][\w.]*[^\w\n\r.:]|[^\w\n\r .:])",
    r"|Traceback [^(]|(?:\w+\.)*(?:[a-z\d_]\w*|[A-Z\d_]+)[\n\r:])",
);

/// Any line but an empty or indented one, the headers of a goroutine, and a call such as `main.each[...](…)`.
const GO: &str = concat!(
    r"^(?:[^\t\n\r A-Z\[_a-z]|[A-Z_abdfh-z][\w%\-./@~]*(?:[^\w%(\-./@\[~]|\[[^.])|\[[^s]|\[s[^i]|\[si[^g]|\[sig[^n]",
    r"|\[sign[^a]|\[signa[^l]|\[signal[^ ]|c(?:[%\-./\d@A-Z_a-qs-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|cr(?:[%\-./\d@A-Z_a-df-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|cre(?:[%\-./\d@A-Z_b-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|crea(?:[%\-./\d@A-Z_a-su-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|creat(?:[%\-./\d@A-Z_a-df-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|create(?:[%\-./\d@A-Z_a-ce-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|created(?:[%\-./\d@A-Z_a-z~][\w%\-./@~]*(?:[^\w%(\-./@\[~]|\[[^.])|(?:[^\w %(\-./@\[~]|\[[^.]))",
    r"|created [^b]|created b[^y]|created by[^ ]",
    r"|e(?:[%\-./\d@A-Z_a-wyz~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|ex(?:[%\-./\d@A-Z_a-hj-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|exi(?:[%\-./\d@A-Z_a-su-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|exit(?:[%\-./\d@A-Z_a-z~][\w%\-./@~]*(?:[^\w%(\-./@\[~]|\[[^.])|(?:[^\w %(\-./@\[~]|\[[^.]))|exit [^s]",
    r"|exit s[^t]|exit st[^a]|exit sta[^t]|exit stat[^u]|exit statu[^s]|exit status[^ ]",
    r"|g(?:[%\-./\d@A-Z_a-np-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|go(?:[%\-./\d@A-Z_a-qs-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|gor(?:[%\-./\d@A-Z_a-np-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|goro(?:[%\-./\d@A-Z_a-tv-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|gorou(?:[%\-./\d@A-Z_a-su-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|gorout(?:[%\-./\d@A-Z_a-hj-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|gorouti(?:[%\-./\d@A-Z_a-mo-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|goroutin(?:[%\-./\d@A-Z_a-df-z~][\w%\-./@~]*)?(?:[^\w%(\-./@\[~]|\[[^.])",
    r"|goroutine(?:[%\-./\d@A-Z_a-z~][\w%\-./@~]*(?:[^\w%(\-./@\[~]|\[[^.])|(?:[^\w %(\-./@\[~]|\[[^.])))",
);

/// Returns the `line_start_pattern` of a language, for lines with their line feeds.
pub(super) const fn line_start(language: Language) -> &'static str {
    match language {
        Language::Java => JAVA,
        Language::Python => PYTHON,
        Language::Go => GO,
    }
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
