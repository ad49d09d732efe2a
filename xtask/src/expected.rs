//! From a catalogue that another program computed to a small table that our tests agree with.
use std::path::Path;
pub(crate) fn extract(_catalog: &Path, _out: &Path) -> anyhow::Result<()> {
    Ok(())
}
