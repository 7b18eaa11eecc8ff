//! A copy of a directory, made to last before anything else happens.
//!
//! Used by repair for the store as it was.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::error::ToolError;
use super::write::sync_directory;
use crate::reserve::RESERVE_NAME;

/// Copies the files of a directory to a new one, both readable for their owner only.
pub(crate) fn directory(from: &Path, to: &Path) -> Result<(), ToolError> {
    let what = || ToolError::io(format!("cannot copy the damaged store to {}", to.display()));
    DirBuilder::new().mode(0o700).create(to).map_err(what())?;
    for entry in fs::read_dir(from).map_err(what())? {
        let entry = entry.map_err(what())?;
        // The reserve says nothing of the store.
        if entry.file_type().map_err(what())?.is_file() && entry.file_name() != RESERVE_NAME {
            file(&entry.path(), &to.join(entry.file_name())).map_err(what())?;
        }
    }
    File::open(to).and_then(|directory| directory.sync_all()).map_err(what())?;
    sync_directory(to)
}

fn file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut copy)?;
    copy.sync_all()
}
