//! Media files on a disk: which there are below a directory, and what each of them is.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::cmaf::TrackHeader;
use crate::layout::{self, Content};

/// Files below one directory.
const MAX_FILES: usize = 100_000;

/// Levels of directories.
const MAX_DEPTH: usize = 16;

/// Files that are tried as the header of a segment, in each directory.
const MAX_HEADERS: usize = 16;

/// Largest header that is read.
const MAX_HEADER: u64 = 4 << 20;

/// Top-level boxes that are looked at to tell a header from a track.
const MAX_BOXES: usize = 64;

/// A regular file.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its path below the directory, with `/` between its levels.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) content: Content,
}

/// The regular files below `root`, in the natural order of their names; hidden ones are left out.
/// Links to directories are not followed.
///
/// # Errors
/// A file or directory cannot be read, or there are too many: one sentence.
pub(super) fn below(root: &Path) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    descend(root, "", 0, &mut found)?;
    found.sort_by(|a, b| layout::natural(&a.name, &b.name));
    Ok(found)
}

fn descend(
    directory: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<Found>,
) -> Result<(), String> {
    let failed = |e| format!("cannot read {}: {e}", directory.display());
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let (path, name) = (entry.path(), format!("{prefix}{name}"));
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            if depth == MAX_DEPTH {
                return Err(format!(
                    "{}: more than {MAX_DEPTH} levels of directories",
                    path.display()
                ));
            }
            descend(&path, &format!("{name}/"), depth + 1, found)?;
        } else if fs::metadata(&path).is_ok_and(|data| data.is_file()) {
            if found.len() == MAX_FILES {
                return Err(format!("there are more than {MAX_FILES} files"));
            }
            let content = content(&path)?;
            found.push(Found {
                name,
                path,
                content,
            });
        }
    }
    Ok(())
}

/// Opens a regular file.
///
/// # Errors
/// One sentence.
pub(super) fn open(path: &Path) -> Result<File, String> {
    let failed = |e: io::Error| format!("cannot read {}: {e}", path.display());
    let file = File::open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if !kind.is_file() {
        let what = match kind.is_dir() {
            true => "a directory: name files in it",
            false => "no regular file",
        };
        return Err(format!("{} is {what}", path.display()));
    }
    Ok(file)
}

/// What a file is, by its name if that of a manifest, or else by its first bytes.
///
/// # Errors
/// It cannot be read.
pub(super) fn content(path: &Path) -> Result<Content, String> {
    let extension = path.extension().unwrap_or_default();
    if extension == "mpd" || extension == "m3u8" {
        return Ok(Content::Manifest);
    }
    let mut file = open(path)?;
    boxes(&mut file).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

fn boxes(file: &mut File) -> io::Result<Content> {
    let mut first = true;
    let mut header = false;
    let mut at = 0;
    for _ in 0..MAX_BOXES {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(at))?;
        file.take(16).read_to_end(&mut bytes)?;
        if first && (bytes.starts_with(b"#EXTM3U") || bytes.starts_with(b"<?xml")) {
            return Ok(Content::Manifest);
        }
        let (Some(size), Some(kind)) = (bytes.first_chunk::<4>(), bytes.get(4..8)) else {
            break;
        };
        match kind {
            b"moof" if header => return Ok(Content::Track),
            b"styp" | b"moof" | b"prft" | b"emsg" | b"sidx" if !header => {
                return Ok(Content::Segment);
            }
            // A progressive file.
            b"mdat" if header => return Ok(Content::Track),
            b"ftyp" if first => {}
            b"moov" => header = true,
            _ if first => return Ok(Content::Other),
            _ => {}
        }
        first = false;
        let size = match (u32::from_be_bytes(*size), bytes.get(8..16)) {
            (1, Some(long)) => long.try_into().map_or(0, u64::from_be_bytes),
            (size, _) => u64::from(size),
        };
        match at.checked_add(size) {
            Some(next) if size >= 8 => at = next,
            _ => break,
        }
    }
    Ok(match (header, first) {
        (true, _) => Content::Header,
        // ftyp and then nothing to tell: as a track by itself it is looked at.
        (false, false) => Content::Track,
        (false, true) => Content::Other,
    })
}

/// The header of a lone segment's track: among the files beside it, or the headers in the directory
/// above, the one with the most similar name.
///
/// # Errors
/// A file cannot be read.
pub(super) fn header_beside(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let mut directory = path.parent();
    for level in 0..2 {
        let Some(here) = directory else { break };
        let readable = if here.as_os_str().is_empty() {
            Path::new(".")
        } else {
            here
        };
        let mut names: Vec<String> = Vec::new();
        let entries = fs::read_dir(readable);
        for entry in entries.into_iter().flatten().take(MAX_FILES).flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let is = content(&entry.path()).unwrap_or(Content::Other);
            // Whole tracks further away are other recordings.
            let fits = is == Content::Header || (is == Content::Track && level == 0);
            if fits && here.join(&name) != path {
                names.push(name);
            }
        }
        names.sort_by(|a, b| layout::natural(a, b));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for _ in 0..MAX_HEADERS {
            let likest = layout::most_similar(&name, names.iter().map(String::as_str));
            let Some(likest) = likest.filter(|place| *place < names.len()) else {
                break;
            };
            let found = here.join(names.remove(likest));
            // A progressive file, or a broken one, has none to lend.
            let header = read_header(&found)?;
            if TrackHeader::parse(&header).is_ok() {
                return Ok(Some(header));
            }
        }
        directory = here.parent();
    }
    Ok(None)
}

/// The front of a file, where its header is.
pub(super) fn read_header(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    open(path)?
        .take(MAX_HEADER)
        .read_to_end(&mut bytes)
        .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Ok(bytes)
}
