//! Answers on disk: one file for each call and region, gzipped, readable by their owner alone.
//!
//! The first line says what it is and when it was asked for; the answer follows. Files are replaced as a whole, so that
//! whoever reads one, or is stopped while writing one, has the old answer or the new one.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use stowage_pricing::Timestamp;

use crate::call::Call;

const FORMAT: &str = "stowage.dev/aws-answer/v1";

/// An answer takes at most so many bytes; one that does not is damaged.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    format: String,
    region: String,
    call: String,
    asked: Timestamp,
}

/// A folder of answers of one account.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    account: String,
}

/// A kept answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) asked: Timestamp,
    pub(crate) answer: Vec<u8>,
}

impl Store {
    /// A store in `folder`, which is made when something is kept. `profile` and `endpoint` are those of AWS's
    /// configuration, where set: what one account or endpoint says is not for another.
    pub fn new(folder: &Path, profile: Option<&str>, endpoint: Option<&str>) -> Self {
        let parts = [profile.filter(|p| *p != "default"), endpoint];
        let account: String =
            parts.into_iter().flatten().flat_map(|part| ["@".to_owned(), plain(part)]).collect();
        Self { folder: folder.to_owned(), account }
    }

    fn path(&self, region: &str, call: Call) -> PathBuf {
        self.folder.join(format!("{}{}", plain(region), self.account)).join(call.file())
    }

    /// The last good answer; none where nothing is kept.
    ///
    /// # Errors
    /// Where there is a file that cannot be used.
    pub(crate) fn last(&self, region: &str, call: Call) -> Result<Option<Kept>, String> {
        let path = self.path(region, call);
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
            Ok(file) => file,
        };
        let damaged = |why: &str| format!("{} is damaged, and not used: {why}", path.display());
        let mut from = BufReader::new(GzDecoder::new(file).take(MOST_BYTES));
        let mut first = Vec::new();
        from.read_until(b'\n', &mut first).map_err(|error| damaged(&error.to_string()))?;
        let head: Head = serde_json::from_slice(&first).map_err(|error| damaged(&error.to_string()))?;
        if head.format != FORMAT || head.region != region || head.call != call.name() {
            return Err(damaged(&format!("it says that it is {} of {}", head.call, head.region)));
        }
        let mut answer = Vec::new();
        from.read_to_end(&mut answer).map_err(|error| damaged(&error.to_string()))?;
        Ok(Some(Kept { asked: head.asked, answer }))
    }

    /// Keeps an answer in place of the one before.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn keep(&self, region: &str, call: Call, kept: &Kept) -> Result<(), String> {
        let path = self.path(region, call);
        write(&path, region, call, kept).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

fn write(path: &Path, region: &str, call: Call, kept: &Kept) -> io::Result<()> {
    let (mut folders, mut options) = (DirBuilder::new(), OpenOptions::new());
    folders.recursive(true);
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        folders.mode(0o700);
        options.mode(0o600);
    }
    if let Some(folder) = path.parent() {
        folders.create(folder)?;
    }
    let head = Head {
        format: FORMAT.to_owned(),
        region: region.to_owned(),
        call: call.name().to_owned(),
        asked: kept.asked,
    };
    let unfinished = path.with_extension(format!("{}.part", std::process::id()));
    let mut out = GzEncoder::new(options.open(&unfinished)?, Compression::fast());
    serde_json::to_writer(&mut out, &head)?;
    out.write_all(b"\n")?;
    out.write_all(&kept.answer)?;
    out.finish()?.sync_all()?;
    fs::rename(&unfinished, path)
}

/// A text as a part of a file's name.
fn plain(text: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    text.chars().take(60).map(kept).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A store for one test, empty.
    pub(crate) fn store(name: &str) -> Store {
        let folder = std::env::temp_dir().join(format!("stowage-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Store::new(&folder, None, None)
    }

    fn kept(answer: &str) -> Kept {
        Kept { asked: Timestamp::from_seconds(1_784_548_800), answer: answer.as_bytes().to_vec() }
    }

    #[test]
    fn an_answer_is_kept_and_replaced() {
        let store = store("kept");
        assert_eq!(store.last("eu-west-1", Call::Subnets), Ok(None));
        for answer in ["{}\n{}\n", ""] {
            store.keep("eu-west-1", Call::Subnets, &kept(answer)).unwrap();
            assert_eq!(store.last("eu-west-1", Call::Subnets), Ok(Some(kept(answer))));
        }
        assert_eq!(store.last("eu-west-2", Call::Subnets), Ok(None));
        assert_eq!(store.last("eu-west-1", Call::SpotPrices), Ok(None));
        let names: Vec<_> = fs::read_dir(store.folder.join("eu-west-1")).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        fs::remove_dir_all(store.folder).unwrap();
    }

    #[test]
    fn a_damaged_file_is_named() {
        let store = store("damaged");
        store.keep("eu-west-1", Call::Subnets, &kept("{}")).unwrap();
        let path = store.path("eu-west-1", Call::Subnets);
        let whole = fs::read(&path).unwrap();
        for bytes in [&whole[..whole.len() / 2], b"", b"no gzip at all"] {
            fs::write(&path, bytes).unwrap();
            let error = store.last("eu-west-1", Call::Subnets).unwrap_err();
            assert!(error.contains("subnets.gz is damaged"), "{error}");
        }
        fs::write(store.path("eu-west-1", Call::SpotPrices), whole).unwrap();
        let error = store.last("eu-west-1", Call::SpotPrices).unwrap_err();
        assert!(error.contains("it says that it is DescribeSubnets of eu-west-1"), "{error}");
        fs::remove_dir_all(store.folder).unwrap();
    }

    #[test]
    fn accounts_and_endpoints_have_folders_of_their_own() {
        let path = |profile, endpoint| {
            let store = Store::new(Path::new("c"), profile, endpoint);
            store.path("eu-west-1", Call::Subnets).display().to_string()
        };
        assert_eq!(path(None, None), "c/eu-west-1/subnets.gz");
        assert_eq!(path(Some("default"), None), "c/eu-west-1/subnets.gz");
        assert_eq!(path(Some("../p"), Some("http://[::1]:5")), "c/eu-west-1@___p@http______1__5/subnets.gz");
    }
}
