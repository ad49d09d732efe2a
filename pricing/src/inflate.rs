//! Gzip, told by its first bytes and bounded in what it may unpack to.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

/// The largest catalogue that is unpacked, in bytes: a thousand times the largest there is.
const LIMIT: u64 = 512 << 20;

/// `bytes` themselves, or what they unpack to where they are gzipped.
pub(crate) fn inflate(bytes: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes).take(LIMIT + 1).read_to_end(&mut out)?;
    if out.len() as u64 > LIMIT {
        return Err(io::Error::other(format!("unpacks to more than {} MiB", LIMIT >> 20)));
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_bytes_pass_and_gzipped_ones_unpack() {
        assert_eq!(inflate(b"[]").unwrap().as_ref(), b"[]");
        assert_eq!(inflate(&gzip(b"[]")).unwrap().as_ref(), b"[]");
        assert_eq!(inflate(&[gzip(b"["), gzip(b"]")].concat()).unwrap().as_ref(), b"[]");
    }

    #[test]
    fn truncated_gzip_is_an_error() {
        let packed = gzip(b"[1, 2, 3]");
        assert!(inflate(&packed[..packed.len() - 4]).is_err());
    }
}
