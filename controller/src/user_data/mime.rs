//! Several parts as one text, in the way that cloud-init and nodeadm read: MIME, `multipart/mixed`.

use super::UserDataError;

const BOUNDARY: &str = "//";

/// A script.
pub(super) const SHELL: &str = r#"text/x-shellscript; charset="us-ascii""#;
/// Settings of nodeadm.
pub(super) const NODE_CONFIG: &str = "application/node.eks.aws";

/// A part: its type and its text.
pub(super) type Part = (String, String);

/// One text of all parts.
pub(super) fn join(parts: &[Part]) -> String {
    let part = |(kind, text): &Part| {
        format!("--{BOUNDARY}\nContent-Type: {kind}\n\n{}\n", text.trim_end_matches('\n'))
    };
    let parts: String = parts.iter().map(part).collect();
    format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\n\n{parts}--{BOUNDARY}--\n"
    )
}

/// Whether a text has parts already.
pub(super) fn has_parts(text: &str) -> bool {
    let head = text.trim_start().lines().take_while(|line| !line.trim().is_empty());
    head.map(str::to_ascii_lowercase)
        .any(|line| line.starts_with("mime-version:") || line.starts_with("content-type: multipart/"))
}

/// The parts of a text that has some.
pub(super) fn split(text: &str) -> Result<Vec<Part>, UserDataError> {
    let wrong = |what: &str| UserDataError::Custom(format!("it begins like MIME, and {what}"));
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.trim_start().split_once("\n\n").ok_or_else(|| wrong("has nothing but a head"))?;
    let lower = head.to_ascii_lowercase();
    let at = lower.find("boundary=").ok_or_else(|| wrong("names no boundary"))? + "boundary=".len();
    let named = &head[at..];
    let boundary = match named.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => named.split([';', '\n', ' ']).next(),
    };
    let boundary = boundary.filter(|b| !b.is_empty()).ok_or_else(|| wrong("its boundary is empty"))?;
    let (open, close) = (format!("--{boundary}"), format!("--{boundary}--"));
    let mut parts = Vec::new();
    let mut current: Option<String> = None;
    for line in body.lines() {
        let ends = line.trim_end() == close;
        if ends || line.trim_end() == open {
            parts.extend(current.take());
            if ends {
                break;
            }
            current = Some(String::new());
        } else if let Some(part) = &mut current {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts.extend(current);
    let typed = |part: String| {
        let (head, text) = part.split_once("\n\n").unwrap_or(("", &part));
        let kind = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
        });
        (kind.unwrap_or_else(|| SHELL.to_owned()), text.to_owned())
    };
    Ok(parts.into_iter().filter(|part| !part.trim().is_empty()).map(typed).collect())
}
