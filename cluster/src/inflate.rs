//! Gzip, told by its first bytes, and bounded in what it may unpack to.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::error::ReadError;

/// `bytes` themselves, or what they unpack to where they are gzipped; at most `limit` bytes of it.
pub(crate) fn inflate<'a>(origin: &str, bytes: &'a [u8], limit: u64) -> Result<Cow<'a, [u8]>, ReadError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(limit.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|e| ReadError::Gzip { origin: origin.to_owned(), problem: e.to_string() })?;
    if out.len() as u64 > limit {
        return Err(ReadError::TooLarge { origin: origin.to_owned(), limit: limit >> 20 });
    }
    Ok(Cow::Owned(out))
}
