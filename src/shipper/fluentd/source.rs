//! Where lines come from.

use super::{
    Error, Pipeline, Source, engine, multiline,
    pattern::{self, Paths},
    text::{Section, size},
};

/// The field with the path of the file, until the line is parsed: a field `file` of the line itself would overwrite it.
pub(super) const FILE: &str = "logsidecar_file";

/// How many bytes of lines are read before they are passed on.
const BATCH: u64 = 32 << 20;

/// `<source>` of an entry of `logs`.
pub(super) fn tail(pipeline: &Pipeline<'_>, source: &Source<'_>) -> Result<Section, Error> {
    let name = source.name;
    let Paths { path, delimiter, exclude } = pattern::paths(&format!("logs[{name}].files"), &source.files)?;
    let parse = match source.multiline {
        None => Section::new("parse", "").set("@type", "none").set("message_key", "log"),
        Some(lines) => Section::new("parse", "")
            .set("@type", "multiline")
            .set("format_firstline", multiline::first_line(name, lines)?)
            .set("format1", r"'/\A(?<log>.*)\z/'"),
    };
    let section = Section::new("source", "")
        .set("@type", "tail")
        .set("@id", format!("in_{name}"))
        .set("@label", "@LINES")
        .set("tag", name)
        .set("path", path)
        .set("path_delimiter", delimiter)
        .set("glob_policy", "always")
        .set_if("exclude_path", exclude)
        .set("path_key", if source.parser.is_some() { FILE } else { "file" })
        .set("pos_file", format!("{}/{name}.pos", engine::STATE))
        .set("pos_file_compaction_interval", "1h")
        .set("follow_inodes", true)
        .set("read_from_head", true)
        .set("refresh_interval", "1s")
        .set("rotate_wait", "5s")
        .comment("A look every second does without inotify, of which a node has little.")
        .set("enable_stat_watcher", false)
        .set("max_line_size", size(pipeline.max_line))
        .set("read_lines_limit", (BATCH / pipeline.max_line.max(1)).clamp(10, 1000));
    let section = match source.multiline {
        None => section,
        Some(_) => section
            .set("multiline_flush_interval", "1s")
            .comment("Lines before the first entry, too.")
            .set("emit_unmatched_lines", true),
    };
    Ok(section.section(parse))
}
