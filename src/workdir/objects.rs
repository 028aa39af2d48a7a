//! Objects and uploads on their way, as files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::{REMOVALS, Workdir, make_dirs};
use crate::names::{ObjectPath, StreamId};
use crate::{Error, Kind, Result};

/// Attempts to rename into a directory that may be removed as empty at the same moment.
const RENAME_ATTEMPTS: usize = 3;
/// Bytes beyond which copying and comparing are long work.
const LONG_WORK: u64 = 1 << 20;
/// Piece in which bytes are compared and copied.
const PIECE: usize = 64 * 1024;

/// An upload on its way: a file in `incoming/` that goes away unless it is published.
pub(crate) struct Spool {
    path: PathBuf,
    file: Arc<File>,
    len: u64,
    published: bool,
}

/// A file that holds an object, open for reading.
#[derive(Clone)]
pub(crate) struct ObjectFile {
    pub(crate) file: Arc<File>,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

/// Reads an object up to its size, with a cursor of its own.
pub(crate) struct ObjectReader {
    object: ObjectFile,
    position: u64,
}

impl io::Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.object.size.saturating_sub(self.position);
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self
            .object
            .file
            .read_at(&mut buffer[..wanted], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(change) => self.object.size.checked_add_signed(change),
            SeekFrom::Current(change) => self.position.checked_add_signed(change),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl ObjectFile {
    pub(crate) fn reader(self) -> ObjectReader {
        ObjectReader {
            object: self,
            position: 0,
        }
    }

    /// Its first `size` bytes.
    pub(crate) fn cut(self, size: u64) -> Self {
        Self {
            size: self.size.min(size),
            ..self
        }
    }

    /// A strong validator that changes with every stored version (RFC 9110 section 8.8.3).
    pub(crate) fn etag(&self) -> String {
        let since = self
            .modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        // The same text that `tower_http::services::ServeDir` derives from size and time, so that the
        // answer to an upload names what later downloads will name.
        format!(
            "\"{:x}.{:08x}-{:x}\"",
            since.as_secs(),
            since.subsec_nanos(),
            self.size
        )
    }

    /// The first `size` bytes of a file that may be longer.
    pub(crate) fn up_to(file: Arc<File>, size: u64) -> Result<Self> {
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        let modified = modified.map_err(|e| failed("cannot read the object's time", e))?;
        Ok(Self {
            file,
            size,
            modified,
        })
    }

    fn of(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let (size, modified) = (metadata.len(), metadata.modified()?);
        Ok(Self {
            file: Arc::new(file),
            size,
            modified,
        })
    }
}

impl Spool {
    /// Bytes written so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The file, for readers of what is already there.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Appends bytes. A short call into the page cache, so it is done in place.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (&*self.file)
            .write_all(bytes)
            .map_err(|e| failed("cannot store the upload", e))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Cuts the file at `len`, which is where the next bytes go.
    pub(crate) fn truncate(&mut self, len: u64) -> Result<()> {
        self.file
            .set_len(len)
            .map_err(|e| failed("cannot cut the upload", e))?;
        self.move_to(len)
    }

    fn move_to(&mut self, len: u64) -> Result<()> {
        (&*self.file)
            .seek(SeekFrom::Start(len))
            .map_err(|e| failed("cannot store the upload", e))?;
        self.len = len;
        Ok(())
    }

    /// Lets the file stay where it is.
    pub(crate) fn keep(&mut self) {
        self.published = true;
    }

    /// Lets the file go after all, unless another one has its name by now.
    pub(crate) fn discard(&mut self) {
        let named = fs::symlink_metadata(&self.path).map(|metadata| metadata.ino());
        let own = self.file.metadata().map(|metadata| metadata.ino());
        if matches!((named, own), (Ok(named), Ok(own)) if named == own) {
            self.published = false;
        }
    }

    /// Appends a range of another file.
    pub(crate) fn copy_from(&mut self, source: &File, start: u64, end: u64) -> Result<()> {
        copy_range(source, start, end, &self.file, self.len)?;
        self.move_to(self.len + (end - start))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.published {
            // Nobody waits for the answer; what stays is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Workdir {
    /// A new, empty file for an upload.
    pub(crate) fn spool(&self) -> Result<Spool> {
        let path = self.next_spool();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed("cannot store the upload", e))?;
        Ok(Spool {
            path,
            file: Arc::new(file),
            len: 0,
            published: false,
        })
    }

    /// Makes the upload the object at `path`, in place of what is there.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when a directory has that name, or an object has the name of one of its
    /// directories.
    pub(crate) fn publish(
        &self,
        spool: &mut Spool,
        stream: StreamId,
        path: &ObjectPath,
    ) -> Result<ObjectFile> {
        let target = self.object_path(stream, path);
        self.rename_into(&spool.path, &target, path)?;
        spool.published = true;
        let metadata = spool
            .file
            .metadata()
            .map_err(|e| failed("cannot read the object's size", e))?;
        let modified = metadata
            .modified()
            .map_err(|e| failed("cannot read the object's time", e))?;
        Ok(ObjectFile {
            file: spool.file(),
            size: metadata.len(),
            modified,
        })
    }

    /// Makes a growing upload the object at `path`, and leaves it under its growing name until
    /// [`Self::forget_part`], so that a crash before it is recorded loses nothing.
    pub(crate) fn publish_growing(
        &self,
        spool: &mut Spool,
        stream: StreamId,
        path: &ObjectPath,
    ) -> Result<ObjectFile> {
        let growing = std::mem::replace(&mut spool.path, self.next_spool());
        let published = second_name(&growing, &spool.path)
            .map_err(|e| failed("cannot store the upload", e))
            .and_then(|()| self.publish(spool, stream, path));
        if published.is_err() {
            let _ = fs::remove_file(&spool.path);
            spool.path = growing;
        }
        published
    }

    /// Keeps what the path holds as `parts/STREAM/OBJECT`, where it stays when the path gets another file.
    pub(crate) fn keep_part(&self, stream: StreamId, path: &ObjectPath, object: i64) -> Result<()> {
        let kept = self.part_path(stream, object);
        let made = kept
            .parent()
            .map_or(Ok(()), make_dirs)
            .and_then(|()| second_name(&self.object_path(stream, path), &kept));
        match made {
            // A track deleted from the disk by hand has nothing to keep.
            Err(e) if is_missing(&e) => Ok(()),
            other => other.map_err(|e| failed("cannot keep the earlier part", e)),
        }
    }

    /// Removes a kept part, or the growing name of an upload that has its own by now.
    pub(crate) fn forget_part(&self, stream: StreamId, object: i64) {
        // What stays is found, and taken for what it is, at the next start.
        let _ = fs::remove_file(self.part_path(stream, object));
    }

    /// A second name for what the path holds, which stays when the path gets another file; `None` where
    /// there is nothing.
    pub(crate) fn set_aside(&self, stream: StreamId, path: &ObjectPath) -> Result<Option<Spool>> {
        let aside = self.next_spool();
        let open = || -> io::Result<Spool> {
            second_name(&self.object_path(stream, path), &aside)?;
            let file = File::open(&aside)?;
            let len = file.metadata()?.len();
            Ok(Spool {
                path: aside.clone(),
                file: Arc::new(file),
                len,
                published: false,
            })
        };
        match open() {
            Ok(spool) => Ok(Some(spool)),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(failed("cannot keep the earlier object", e)),
        }
    }

    /// Keeps a file as the bytes of an upload that no path serves: `kept/STREAM/UPLOAD`.
    pub(crate) fn keep_upload(
        &self,
        spool: &mut Spool,
        stream: StreamId,
        upload: i64,
    ) -> Result<()> {
        self.name_kept(spool, stream, upload)?;
        spool.published = true;
        Ok(())
    }

    /// Gives a file the name under which the bytes of an upload are kept. It still goes away unless it
    /// is kept; [`Self::restore_kept`] finds it after a crash.
    pub(crate) fn name_kept(&self, spool: &mut Spool, stream: StreamId, upload: i64) -> Result<()> {
        rename(spool, self.kept_path(stream, upload))
    }

    /// Puts the bytes of an upload back at their path: what was to take their place was not recorded.
    /// Whether they are put back, which needs the size that they are known to have.
    pub(crate) fn restore_kept(
        &self,
        stream: StreamId,
        upload: i64,
        path: &ObjectPath,
        size: u64,
    ) -> Result<bool> {
        let kept = self.kept_path(stream, upload);
        let held = fs::symlink_metadata(&kept)
            .map_err(|e| failed("cannot read the size of kept bytes", e))?;
        if !held.is_file() || held.len() != size {
            return Ok(false);
        }
        self.rename_into(&kept, &self.object_path(stream, path), path)?;
        // Where both names already led to the same file, renaming leaves both.
        let _ = fs::remove_file(&kept);
        Ok(true)
    }

    /// Removes kept bytes.
    pub(crate) fn forget_kept(&self, stream: StreamId, uploads: &[i64]) {
        for upload in uploads {
            // What stays is removed at the next start.
            let _ = fs::remove_file(self.kept_path(stream, *upload));
        }
    }

    /// Opens the kept bytes of an upload.
    pub(crate) fn open_kept(&self, stream: StreamId, upload: i64) -> Result<Option<ObjectFile>> {
        open_regular(&self.kept_path(stream, upload))
    }

    /// Opens a part that its path does not serve.
    pub(crate) fn open_part(&self, stream: StreamId, object: i64) -> Result<Option<ObjectFile>> {
        open_regular(&self.part_path(stream, object))
    }

    /// Kept bytes that nobody knows of: `known` tells which are. Files of other names are removed.
    pub(crate) fn unknown_kept<'k>(
        &self,
        known: impl Fn(StreamId) -> &'k [i64],
    ) -> Result<Vec<(StreamId, i64)>> {
        let mut unknown = Vec::new();
        let failed = |e| failed("cannot list the directory of kept uploads", e);
        for stream in names_in(&self.root().join("kept")).map_err(failed)? {
            let Ok(id) = stream.parse().map(StreamId) else {
                continue; // not of ours
            };
            let uploads = known(id);
            let dir = self.root().join("kept").join(stream);
            for name in names_in(&dir).map_err(failed)? {
                match name.parse::<i64>() {
                    Ok(upload) if upload.to_string() == name => {
                        if uploads.binary_search(&upload).is_err() {
                            unknown.push((id, upload));
                        }
                    }
                    _ => {
                        // Nothing depends on it.
                        let _ = fs::remove_file(dir.join(name));
                    }
                }
            }
        }
        Ok(unknown)
    }

    /// Whether an object can be stored at the path: no object has the name of one of its directories,
    /// and no directory has its own.
    ///
    /// # Errors
    /// [`Kind::Conflict`]
    pub(crate) fn check_place(&self, stream: StreamId, path: &ObjectPath) -> Result<()> {
        match fs::symlink_metadata(self.object_path(stream, path)) {
            Ok(held) if held.is_dir() => Err(taken(path, io::ErrorKind::IsADirectory)),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => Err(taken(path, e.kind())),
            _ => Ok(()),
        }
    }

    /// Puts a kept part back at its path: a change of parts was cut before it was recorded.
    pub(crate) fn restore_part(
        &self,
        stream: StreamId,
        path: &ObjectPath,
        object: i64,
    ) -> Result<bool> {
        let kept = self.part_path(stream, object);
        match fs::rename(&kept, self.object_path(stream, path)) {
            Ok(()) => {
                // Where both names already led to the same file, renaming leaves both.
                let _ = fs::remove_file(&kept);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(failed("cannot restore a part", e)),
        }
    }

    /// Opens what the path holds; `None` when there is no regular file.
    pub(crate) fn open_object(
        &self,
        stream: StreamId,
        path: &ObjectPath,
    ) -> Result<Option<ObjectFile>> {
        let target = self.object_path(stream, path);
        let open = || -> io::Result<Option<ObjectFile>> {
            if !self.is_reached_without_links(&target)? {
                return Ok(None);
            }
            ObjectFile::of(File::open(&target)?).map(Some)
        };
        match open() {
            Ok(found) => Ok(found),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(failed("cannot open the object", e)),
        }
    }

    /// Opens a track's file for appending.
    pub(crate) fn open_track(
        &self,
        stream: StreamId,
        path: &ObjectPath,
    ) -> Result<Option<Arc<File>>> {
        match OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.object_path(stream, path))
        {
            Ok(file) => Ok(Some(Arc::new(file))),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(failed("cannot open the track", e)),
        }
    }

    /// Removes what the path holds, and the directories that are empty then. It may be gone already.
    pub(crate) fn delete_object(&self, stream: StreamId, path: &ObjectPath) -> Result<()> {
        let target = self.object_path(stream, path);
        match fs::remove_file(&target) {
            Ok(()) => {}
            Err(e) if is_missing(&e) || e.kind() == io::ErrorKind::IsADirectory => return Ok(()),
            Err(e) => return Err(failed("cannot remove the object", e)),
        }
        let stream_dir = self.stream_dir(stream);
        let mut dir = target.parent();
        while let Some(empty) = dir.filter(|d| *d != stream_dir) {
            if fs::remove_dir(empty).is_err() {
                break; // not empty: somebody else's object is there
            }
            dir = empty.parent();
        }
        Ok(())
    }

    /// Removes all files of a stream.
    pub(crate) fn delete_stream(&self, stream: StreamId) -> Result<()> {
        for dir in [
            self.stream_dir(stream),
            self.root().join("parts").join(stream.to_string()),
            self.root().join("kept").join(stream.to_string()),
        ] {
            // Uploads that end meanwhile may put files into it; there are no new ones.
            let mut removed = fs::remove_dir_all(&dir);
            for _ in 1..REMOVALS {
                match &removed {
                    Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                        removed = fs::remove_dir_all(&dir);
                    }
                    _ => break,
                }
            }
            match removed {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("cannot remove the stream's files", e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what earlier servers left in `incoming/`.
    pub(crate) fn clear_incoming(&self) -> Result<()> {
        let clear = || -> io::Result<()> {
            for entry in fs::read_dir(self.root().join("incoming"))? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        clear().map_err(|e| failed("cannot clear the directory of unfinished uploads", e))
    }

    /// Gives a growing upload the name under which it is found again after a crash.
    pub(crate) fn name_growing(
        &self,
        spool: &mut Spool,
        stream: StreamId,
        object: i64,
    ) -> Result<()> {
        rename(spool, self.part_path(stream, object))
    }

    /// Takes over the file that a growing upload left behind; `None` when there is none.
    pub(crate) fn adopt_growing(&self, stream: StreamId, object: i64) -> Result<Option<Spool>> {
        let path = self.part_path(stream, object);
        let open = || -> io::Result<Spool> {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let len = file.metadata()?.len();
            Ok(Spool {
                path: path.clone(),
                file: Arc::new(file),
                len,
                published: true,
            })
        };
        match open() {
            Ok(spool) => Ok(Some(spool)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("cannot open an unfinished upload", e)),
        }
    }

    fn stream_dir(&self, stream: StreamId) -> PathBuf {
        self.root().join("streams").join(stream.to_string())
    }

    fn object_path(&self, stream: StreamId, path: &ObjectPath) -> PathBuf {
        self.stream_dir(stream).join(path.as_str())
    }

    fn part_path(&self, stream: StreamId, object: i64) -> PathBuf {
        self.root()
            .join("parts")
            .join(stream.to_string())
            .join(object.to_string())
    }

    fn kept_path(&self, stream: StreamId, upload: i64) -> PathBuf {
        self.root()
            .join("kept")
            .join(stream.to_string())
            .join(upload.to_string())
    }

    fn rename_into(&self, source: &Path, target: &Path, path: &ObjectPath) -> Result<()> {
        let mut renamed = fs::rename(source, target);
        for _ in 0..RENAME_ATTEMPTS {
            match &renamed {
                // The directory is new, or somebody else's deletion has just taken it for empty.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    renamed = target
                        .parent()
                        .map_or(Ok(()), make_dirs)
                        .and_then(|()| fs::rename(source, target));
                }
                _ => break,
            }
        }
        renamed.map_err(|e| match e.kind() {
            io::ErrorKind::IsADirectory
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists => taken(path, e.kind()),
            _ => failed("cannot store the object", e),
        })
    }

    /// Somebody with access to the machine may have put symbolic links into the tree; they could lead
    /// out of it.
    fn is_reached_without_links(&self, target: &Path) -> io::Result<bool> {
        let below = target.strip_prefix(self.root()).unwrap_or(target);
        let mut reached = self.root().to_owned();
        let mut is_file = false;
        for component in below.components() {
            reached.push(component);
            let metadata = fs::symlink_metadata(&reached)?;
            if metadata.is_symlink() {
                return Ok(false);
            }
            is_file = metadata.is_file();
        }
        Ok(is_file)
    }
}

fn open_regular(path: &Path) -> Result<Option<ObjectFile>> {
    match File::open(path).and_then(ObjectFile::of) {
        Ok(found) => Ok(Some(found)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(failed("cannot open the bytes of the upload", e)),
    }
}

/// The names in a directory that are text; those that are not are none of ours.
fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    if !fs::symlink_metadata(dir)?.is_dir() {
        return Ok(Vec::new());
    }
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(io::Result::transpose).collect()
}

/// Gives a file a second name, in place of what had it. Where the file system has no hard links, a copy.
fn second_name(file: &Path, name: &Path) -> io::Result<()> {
    match fs::hard_link(file, name) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(name)?;
            fs::hard_link(file, name)
        }
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
            ) =>
        {
            fs::copy(file, name).map(|_| ())
        }
        other => other,
    }
}

fn taken(path: &ObjectPath, by: io::ErrorKind) -> Error {
    let why = match by {
        io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => {
            "there are objects below that name"
        }
        _ => "an object has the name of one of its directories",
    };
    Error::new(Kind::Conflict, format!("cannot store \"{path}\": {why}"))
}

/// Does long file work where it is called, without holding up other tasks of its thread.
fn in_place<T>(bytes: u64, work: impl FnOnce() -> T) -> T {
    if bytes > LONG_WORK {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// Writes all bytes at an offset of a file, without moving its cursor.
pub(crate) fn write_at(file: &File, offset: u64, bytes: &[u8]) -> Result<()> {
    file.write_all_at(bytes, offset)
        .map_err(|e| failed("cannot append to the track", e))
}

/// Copies a range of one file to an offset of another.
pub(crate) fn copy_range(
    source: &File,
    start: u64,
    end: u64,
    target: &File,
    offset: u64,
) -> Result<()> {
    in_place(end.saturating_sub(start), || {
        let mut piece = [0; PIECE];
        let (mut from, mut to) = (start, offset);
        while from < end {
            let wanted = piece
                .len()
                .min(usize::try_from(end - from).unwrap_or(usize::MAX));
            let read = read_at(source, from, &mut piece[..wanted])?;
            write_at(target, to, &piece[..read])?;
            from += read as u64;
            to += read as u64;
        }
        Ok(())
    })
}

/// Whether two ranges of `len` bytes hold the same.
pub(crate) fn same_bytes(a: &File, a_start: u64, b: &File, b_start: u64, len: u64) -> Result<bool> {
    in_place(len, || {
        let (mut left, mut right) = ([0; PIECE / 2], [0; PIECE / 2]);
        let mut done = 0;
        while done < len {
            let wanted = left
                .len()
                .min(usize::try_from(len - done).unwrap_or(usize::MAX));
            let read = read_at(a, a_start + done, &mut left[..wanted])?;
            b.read_exact_at(&mut right[..read], b_start + done)
                .map_err(|e| failed("cannot read the stored object", e))?;
            if left[..read] != right[..read] {
                return Ok(false);
            }
            done += read as u64;
        }
        Ok(true)
    })
}

/// The bytes of a range of a file that are there.
pub(crate) fn read_range(file: &File, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed("cannot read the object", e)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Cuts a file.
pub(crate) fn truncate(file: &File, len: u64) -> Result<()> {
    file.set_len(len)
        .map_err(|e| failed("cannot cut the object", e))
}

/// Some bytes from an offset, at least one.
fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> Result<usize> {
    match file.read_at(buffer, offset) {
        Ok(0) => Err(failed(
            "cannot read the upload",
            io::ErrorKind::UnexpectedEof.into(),
        )),
        Ok(read) => Ok(read),
        Err(e) => Err(failed("cannot read the upload", e)),
    }
}

fn is_missing(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Gives a file another name, in a directory that may have to be made.
fn rename(spool: &mut Spool, name: PathBuf) -> Result<()> {
    name.parent()
        .map_or(Ok(()), make_dirs)
        .and_then(|()| fs::rename(&spool.path, &name))
        .map_err(|e| failed("cannot keep the upload", e))?;
    spool.path = name;
    Ok(())
}

fn failed(what: &str, e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(Kind::StorageFull, "the server's disk is full").because(e)
        }
        _ => Error::internal(what.to_owned(), e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workdir() -> Workdir {
        Workdir::open(None).unwrap()
    }

    fn path(text: &str) -> ObjectPath {
        ObjectPath::parse(text).unwrap()
    }

    fn store(workdir: &Workdir, name: &str, bytes: &[u8]) -> Result<ObjectFile> {
        let mut spool = workdir.spool()?;
        spool.write(bytes)?;
        workdir.publish(&mut spool, StreamId(1), &path(name))
    }

    #[test]
    fn an_object_appears_whole_and_is_replaced() {
        let workdir = workdir();
        assert!(
            workdir
                .open_object(StreamId(1), &path("a/b"))
                .unwrap()
                .is_none()
        );
        store(&workdir, "a/b", b"one").unwrap();
        let stored = store(&workdir, "a/b", b"three").unwrap();
        let found = workdir
            .open_object(StreamId(1), &path("a/b"))
            .unwrap()
            .unwrap();
        assert_eq!((found.size, found.etag()), (5, stored.etag()));
    }

    #[test]
    fn names_of_directories_and_objects_do_not_mix() {
        let workdir = workdir();
        store(&workdir, "a/b", b"x").unwrap();
        assert_eq!(
            store(&workdir, "a", b"x").map(|_| ()).unwrap_err().kind(),
            Kind::Conflict
        );
        assert_eq!(
            store(&workdir, "a/b/c", b"x")
                .map(|_| ())
                .unwrap_err()
                .kind(),
            Kind::Conflict
        );
        assert!(
            workdir
                .open_object(StreamId(1), &path("a"))
                .unwrap()
                .is_none()
        );
        assert!(
            workdir
                .open_object(StreamId(1), &path("a/b/c"))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_link_is_not_followed() {
        let workdir = workdir();
        store(&workdir, "a/b", b"x").unwrap();
        let dir = workdir.stream_dir(StreamId(1));
        std::os::unix::fs::symlink("/etc/hostname", dir.join("a/link")).unwrap();
        std::os::unix::fs::symlink("a", dir.join("dir")).unwrap();
        assert!(
            workdir
                .open_object(StreamId(1), &path("a/link"))
                .unwrap()
                .is_none()
        );
        assert!(
            workdir
                .open_object(StreamId(1), &path("dir/b"))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn deleting_takes_empty_directories_along_but_not_the_stream() {
        let workdir = workdir();
        store(&workdir, "a/b/c", b"x").unwrap();
        store(&workdir, "a/d", b"x").unwrap();
        workdir.delete_object(StreamId(1), &path("a/b/c")).unwrap();
        workdir.delete_object(StreamId(1), &path("a/b/c")).unwrap();
        let dir = workdir.stream_dir(StreamId(1));
        assert!(!dir.join("a/b").exists() && dir.join("a/d").exists());
        workdir.delete_object(StreamId(1), &path("a/d")).unwrap();
        assert!(dir.exists() && !dir.join("a").exists());
    }

    #[test]
    fn what_is_not_published_goes_away() {
        let workdir = workdir();
        let spool = workdir.spool().unwrap();
        let file = spool.path.clone();
        assert!(file.exists());
        drop(spool);
        assert!(!file.exists());
    }

    #[test]
    fn what_is_not_kept_after_all_goes_away_unless_another_has_its_name() {
        let workdir = workdir();
        let keep = || {
            let mut spool = workdir.spool().unwrap();
            workdir.keep_upload(&mut spool, StreamId(1), 7).unwrap();
            spool
        };
        let mut first = keep();
        let mut second = keep();
        first.discard();
        drop(first);
        assert!(workdir.open_kept(StreamId(1), 7).unwrap().is_some());
        second.discard();
        drop(second);
        assert!(workdir.open_kept(StreamId(1), 7).unwrap().is_none());
    }

    #[test]
    fn a_second_server_is_refused() {
        let workdir = workdir();
        let second = Workdir::open(Some(workdir.root())).map(|_| ()).unwrap_err();
        assert_eq!(second.kind(), Kind::Conflict);
        assert!(second.message().contains("in use"));
    }

    #[test]
    fn directories_and_secrets_are_private() {
        let workdir = workdir();
        let file = workdir.token_file();
        super::super::write_small(&file, "secret").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(workdir.cert_file(super::super::Hierarchy::Device, ""))
                .unwrap()
                .mode()
                & 0o777,
            0o700
        );
    }
}
