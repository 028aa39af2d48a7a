//! What lies below `streams/` and was not put there by this program: to be looked at, never changed.

use std::fs;
use std::io;
use std::time::SystemTime;

use super::Workdir;
use crate::names::StreamId;
use crate::{Error, Result};

/// Deepest level that is looked into; object paths end sooner.
const MAX_DEPTH: usize = 32;

/// A file below a stream's directory.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where, below the stream's directory. What is no UTF-8 in it is replaced.
    pub(crate) path: String,
    /// What it is; for people, if it is no file that can be read by its path.
    pub(crate) file: std::result::Result<FoundFile, &'static str>,
}

/// A regular file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundFile {
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

impl Workdir {
    /// The stream numbers that directories have, ascending.
    pub(crate) fn found_streams(&self) -> Result<Vec<StreamId>> {
        let dir = self.root().join("streams");
        let listed = || -> io::Result<Vec<StreamId>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let name = entry.file_name();
                // Only as this program writes it: `7`, not `07`.
                let id = name.to_str().and_then(|text| {
                    let id: StreamId = text.parse().ok()?;
                    (id.to_string() == text).then_some(id)
                });
                if let Some(id) = id
                    && entry.file_type()?.is_dir()
                {
                    found.push(id);
                }
            }
            found.sort_unstable();
            Ok(found)
        };
        listed().map_err(|e| Error::internal(format!("cannot list {}", dir.display()), e))
    }

    /// All files below a stream's directory.
    pub(crate) fn found_files(&self, stream: StreamId) -> Result<Vec<Found>> {
        let dir = self.root().join("streams").join(stream.to_string());
        let mut found = Vec::new();
        let mut left = vec![(dir.clone(), String::new(), 0)];
        while let Some((dir, name, depth)) = left.pop() {
            let mut listed = || -> io::Result<()> {
                for entry in fs::read_dir(&dir)? {
                    let entry = entry?;
                    let own = entry.file_name();
                    let path = format!("{name}{}", own.to_string_lossy());
                    let metadata = fs::symlink_metadata(entry.path())?;
                    if metadata.is_dir() && depth < MAX_DEPTH {
                        left.push((entry.path(), format!("{path}/"), depth + 1));
                        continue;
                    }
                    let file = if own.to_str().is_none() {
                        Err("its name is not UTF-8")
                    } else if metadata.is_dir() {
                        Err("it lies too deep")
                    } else if metadata.is_file() {
                        Ok(FoundFile {
                            size: metadata.len(),
                            modified: metadata.modified()?,
                        })
                    } else {
                        Err("it is not a file")
                    };
                    found.push(Found { path, file });
                }
                Ok(())
            };
            listed().map_err(|e| Error::internal(format!("cannot list {}", dir.display()), e))?;
        }
        Ok(found)
    }
}
