//! What lies where in an object that is already stored.

use std::io::Read;

use super::track::{end_of, row_at};
use super::upload::MAX_INDEXED;
use crate::catalog::FragmentRow;
use crate::cmaf::{BodyScanner, ScanEvent, Start};
use crate::workdir::ObjectFile;
use crate::{Error, Result};

/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;

/// The header and the fragments of an object.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Bytes of the CMAF header it begins with; 0 when it does not.
    pub(crate) header_size: u64,
    /// End of its last fragment, or of its header, in bytes.
    pub(crate) media_end: u64,
    /// Greatest end of a fragment in ticks.
    pub(crate) end_time: Option<u64>,
    pub(crate) fragments: Vec<FragmentRow>,
}

/// Reads a whole object as if it came by an upload. Takes as long as reading takes.
pub(crate) fn index(object: ObjectFile) -> Result<Index> {
    let mut reader = object.reader();
    let mut scanner = BodyScanner::new();
    let (mut piece, mut events) = (vec![0; PIECE], Vec::new());
    let mut index = Index::default();
    let (mut first, mut ended) = (true, false);
    loop {
        let read = reader
            .read(&mut piece)
            .map_err(|e| Error::internal("cannot read a stored object", e))?;
        match piece.get(..read) {
            None | Some([]) => scanner.finish(&mut events),
            Some(bytes) => scanner.push(bytes, &mut events),
        }
        for event in events.drain(..) {
            match event {
                ScanEvent::Header(seen) if seen.header.is_some() && first => {
                    first = false;
                    index.header_size = seen.range.end;
                }
                ScanEvent::Fragment(seen) if index.fragments.len() < MAX_INDEXED => {
                    first = false;
                    index.media_end = seen.range.end;
                    index.fragments.push(row_at(seen.range.start, &seen));
                }
                // Nothing can be read from there on.
                ScanEvent::Start(Start::Other) | ScanEvent::Broken { .. } => ended = true,
                _ => {}
            }
        }
        if read == 0 || ended {
            break;
        }
    }
    index.media_end = index.media_end.max(index.header_size);
    index.end_time = index.fragments.iter().filter_map(end_of).max();
    Ok(index)
}
