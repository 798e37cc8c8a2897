//! Whatever a user writes is read back by Fluentd as the same text, or refused.

use proptest::prelude::*;
use serde_json::json;

use super::{super::Error, Read, least, log, of_output, outputs, rendered, text};
use crate::shipper::tests::hostile;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_of_a_user_is_anything_but_text(hostile in hostile()) {
        let secret = json!({"name": "s", "key": "k"});
        let basic = json!({"basic": {"username": hostile, "password": secret}});
        let escaped = format!("(?<x>){}", regex::escape(&hostile));
        let list = Read::Text(json!([hostile]).to_string());
        for (kind, more, key, expected) in [
            ("http", json!({"url": format!("http://h/{hostile}")}), "endpoint", text(&format!("http://h/{hostile}"))),
            ("http", json!({"headers": [{"name": "X", "value": hostile}]}), "headers", Read::Json(json!({"X": hostile}))),
            ("http", json!({"auth": basic}), "auth/username", text(&hostile)),
            ("elasticsearch", json!({"index": hostile}), "index_name", text(&hostile)),
            ("openSearch", json!({"index": hostile, "daily": true}), "logstash_prefix", text(&hostile)),
            ("s3", json!({"bucket": hostile}), "s3_bucket", text(&hostile)),
            ("s3", json!({"region": hostile}), "s3_region", text(&hostile)),
            ("s3", json!({"prefix": hostile}), "path", text(&format!("{hostile}/"))),
            ("s3", json!({"endpoint": hostile}), "s3_endpoint", text(&hostile)),
            ("forward", json!({"host": hostile}), "server/host", text(&hostile)),
            ("kafka", json!({"topic": hostile}), "default_topic", text(&hostile)),
            ("kafka", json!({"brokers": [hostile]}), "brokers", list),
            ("kafka", json!({"sasl": {"mechanism": "PLAIN", "username": hostile, "password": secret}}), "username", text(&hostile)),
        ] {
            let mut of = least(kind);
            of.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            match of_output(kind, &of) {
                Ok(found) => prop_assert_eq!(found.at(&format!("label @o/match **/{key}")), Some(&expected)),
                Err(error) => prop_assert!(matches!(error, Error::Field { .. }) && hostile.contains(['\n', '$', '%']), "{}", error),
            }
        }
        let parser = log(&json!({"parser": {"format": "regex", "regex": escaped}}));
        match rendered(&parser, outputs()) {
            Ok(found) => {
                let expected = text(&format!("/{escaped}/"));
                let read = found.all().into_iter().find(|(key, _)| key.ends_with("/expression")).map(|(_, value)| value);
                prop_assert_eq!(read, Some(expected));
            }
            Err(error) => prop_assert!(hostile.contains('\n'), "{}", error),
        }
    }

    /// What Fluentd makes of the patterns: it splits, strips, dates and, where there are wildcards, takes backslashes away.
    #[test]
    fn no_pattern_finds_other_files(files in prop::collection::vec(hostile(), 1..4)) {
        let Ok(found) = rendered(&log(&json!({"files": files})), outputs()) else {
            return Ok(());
        };
        let parameter = |name: &str| match found.all().into_iter().find(|(key, _)| key == &format!("source /{name}")) {
            Some((_, Read::Text(text))) => text,
            other => panic!("{other:?}"),
        };
        let (path, delimiter) = (parameter("path"), parameter("path_delimiter"));
        let native: Vec<String> = path.split(&delimiter).map(|path| path.trim_matches([' ', '\t', '\r', '\n', '\x0b', '\x0c', '\0']).replace("%%", "\0")).collect();
        prop_assert!(native.iter().all(|path| !path.contains('%')));
        let native: Vec<String> = native.iter().map(|path| path.replace('\0', "%")).collect();
        let shell: Vec<String> = files.iter().map(|file| format!("/l/{file}")).collect();
        prop_assert_eq!(native.len(), shell.len());
        let regex = |text: &str| regex::Regex::new(text).unwrap();
        let (wild, stars) = (regex(r"[*?]|\[.*\]|\{.*,.*\}"), regex(r"\*+"));
        let (braces, escape) = (regex(r"(^|[^\\])(\\\\)*[{}]"), regex(r"\\(.)"));
        for (native, shell) in native.iter().zip(&shell) {
            if wild.is_match(shell) {
                prop_assert!(!braces.is_match(native), "no braces: {}", native);
                let plain = escape.replace_all(native, "$1").into_owned();
                // Within a class two of them are as good as one; elsewhere Ruby would look into all folders below.
                prop_assert!(!native.contains("**/"), "no recursion: {}", native);
                prop_assert_eq!(stars.replace_all(&plain, "*"), stars.replace_all(shell, "*"));
            } else {
                prop_assert_eq!(native, shell);
            }
        }
    }
}
