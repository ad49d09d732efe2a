//! Bytes of files and of standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// More than this is taken for a mistake: 100,000 pods are about 65 MB.
const MOST_BYTES: u64 = 2 << 30;

/// How to make a snapshot, for hints.
const HOW_TO_CAPTURE: &str = "kubectl get pods,nodes,pvc,pv,storageclasses,csinodes,daemonsets,namespaces,\
     priorityclasses,runtimeclasses,nodepools,nodeclaims,ec2nodeclasses,\
     poddisruptionbudgets -A -o json > snapshot.json";

/// One input: its name for messages, and its bytes.
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Reads a snapshot: what has none gets the hint how to make one.
///
/// # Errors
/// As [`read`].
pub(crate) fn snapshot(path: &Path) -> Result<Input, Failure> {
    let hint = if path.is_dir() {
        format!("name its files: {}/*.json", path.display())
    } else {
        format!("make a snapshot with: {HOW_TO_CAPTURE}")
    };
    read(path).map_err(|failure| failure.hint(hint))
}

/// Refuses standard input where several inputs would be read from it.
///
/// # Errors
/// Where `-` is there twice.
pub(crate) fn once<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> Result<(), Failure> {
    match paths.filter(|path| path.as_os_str() == "-").count() {
        0 | 1 => Ok(()),
        _ => Err(Failure::new("standard input (-) can be read only once")),
    }
}

/// Reads a file, or standard input where the path is `-`.
///
/// # Errors
/// Where it cannot be read, is empty or is absurdly large.
pub(crate) fn read(path: &Path) -> Result<Input, Failure> {
    if path.as_os_str() == "-" {
        return take("standard input".to_owned(), &mut io::stdin().lock(), 0);
    }
    let name = path.display().to_string();
    let cannot = |error: &io::Error| Failure::new(format!("cannot read {name}: {}", reason(error)));
    let mut file = File::open(path).map_err(|error| cannot(&error))?;
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    if metadata.is_dir() {
        return Err(Failure::new(format!("{name} is a folder, not a file")));
    }
    take(name, &mut file, metadata.len().min(MOST_BYTES))
}

fn take(name: String, from: &mut dyn Read, size: u64) -> Result<Input, Failure> {
    let mut bytes = Vec::with_capacity(size as usize + 1);
    from.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(format!("cannot read {name}: {}", reason(&error))))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Failure::new(format!("{name} is larger than 2 GiB")));
    }
    if bytes.is_empty() {
        return Err(Failure::new(format!("{name} is empty")));
    }
    Ok(Input { name, bytes })
}

/// An error in the words of the operating system, without its number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_holds_nothing_is_refused() {
        let error = take("x".to_owned(), &mut io::empty(), 0).err();
        assert!(format!("{error:?}").contains("x is empty"), "{error:?}");
    }
}
