//! A new store file, written row by row and made to last at the end.
//!
//! Used by repair and import. The file is written under a name of its own and is no store before
//! [`StoreWriter::finish`].

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Database};

use super::error::ToolError;
use crate::FORMAT;
use crate::block::BlockKey;
use crate::engine::{BLOCKS, ROWS};
use crate::guard::{Guard, write_header};
use crate::row;

/// So many bytes are collected before they are written in one transaction.
const CHUNK_BYTES: usize = 8 << 20;
const CACHE_BYTES: usize = 32 << 20;

/// A new store file.
#[derive(Debug)]
pub(crate) struct StoreWriter {
    path: PathBuf,
    database: Database,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    blocks: Vec<(BlockKey, Vec<u8>)>,
    bytes: usize,
}

impl StoreWriter {
    /// Makes the file, readable for its owner only. One that a former run left behind is replaced.
    pub(crate) fn create(path: &Path) -> Result<Self, ToolError> {
        let making = || ToolError::io(format!("cannot write {}", path.display()));
        if path.exists() {
            std::fs::remove_file(path).map_err(making())?;
        }
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(making())?;
        let disk = FileBackend::new(file).map_err(ToolError::engine("cannot write a new store"))?;
        let guard = Guard::new(Arc::new(disk), Arc::default(), Arc::default());
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(guard);
        let database = database.map_err(ToolError::engine("cannot write a new store"))?;
        Ok(Self { path: path.to_owned(), database, rows: Vec::new(), blocks: Vec::new(), bytes: 0 })
    }

    /// Adds a small row with this body.
    pub(crate) fn row(&mut self, key: Vec<u8>, body: &[u8]) -> Result<(), ToolError> {
        let value = row::frame(&key, body);
        self.bytes += key.len() + value.len();
        self.rows.push((key, value));
        self.flush_full()
    }

    /// Adds a block with its head.
    pub(crate) fn block(&mut self, key: BlockKey, value: Vec<u8>) -> Result<(), ToolError> {
        self.bytes += key.len() + value.len();
        self.blocks.push((key, value));
        self.flush_full()
    }

    fn flush_full(&mut self) -> Result<(), ToolError> {
        if self.bytes >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ToolError> {
        self.write().map_err(ToolError::engine("cannot write the new store"))
    }

    fn write(&mut self) -> Result<(), redb::Error> {
        let mut write = self.database.begin_write()?;
        // The last commit of a file is then one that the engine never takes for a torn one.
        write.set_quick_repair(true);
        {
            let mut rows = write.open_table(ROWS)?;
            for (key, value) in self.rows.drain(..) {
                rows.insert(&key[..], &value[..])?;
            }
            let mut blocks = write.open_table(BLOCKS)?;
            for (key, value) in self.blocks.drain(..) {
                blocks.insert(&key, &value[..])?;
            }
        }
        self.bytes = 0;
        write.commit()?;
        Ok(())
    }

    /// Writes what is left, closes the file in order and makes it a store.
    pub(crate) fn finish(mut self) -> Result<(), ToolError> {
        self.flush()?;
        let Self { path, database, .. } = self;
        database.close().map_err(ToolError::engine("cannot close the new store"))?;
        let what = || ToolError::io(format!("cannot write {}", path.display()));
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(what())?;
        let disk = FileBackend::new(file).map_err(ToolError::engine("cannot write a new store"))?;
        write_header(&disk, FORMAT).map_err(what())?;
        sync_directory(&path)
    }
}

/// Makes what happened to the names in the directory of a file last.
pub(crate) fn sync_directory(path: &Path) -> Result<(), ToolError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let what = ToolError::io(format!("cannot sync {}", directory.display()));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(what)
}
