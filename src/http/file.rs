//! Answers with the bytes of an object: range and conditional requests as `tower-http` does them, on a
//! file that was opened before and is shown up to a given length.

use std::collections::VecDeque;
use std::fs::File;
use std::future::{Ready, ready};
use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready as poll_ready};
use std::time::SystemTime;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::task::JoinHandle;
use tower::ServiceExt;
use tower_http::services::fs::{Backend, File as ServedFile, Metadata, ServeDir};

use super::media_type;
use crate::live::{Extent, Growing};
use crate::names::ObjectPath;
use crate::workdir::{self, ObjectFile};
use crate::{Error, Result};

/// Bytes read at a time.
const PIECE: usize = 128 * 1024;

/// An object for GET or HEAD.
pub(super) async fn serve(
    method: &Method,
    headers: &HeaderMap,
    path: &ObjectPath,
    object: ObjectFile,
) -> Result<Response> {
    let etag = object.etag();
    let mut asked = Request::new(Body::empty());
    *asked.method_mut() = method.clone();
    *asked.uri_mut() = Uri::from_static("/object");
    for name in [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ] {
        if let Some(value) = headers.get(&name) {
            asked.headers_mut().insert(name, value.clone());
        }
    }
    if let Some(range) = range(headers, &etag, object.size) {
        asked.headers_mut().insert(header::RANGE, range);
    }
    let service = ServeDir::with_backend("", OneFile(object))
        .append_index_html_on_directories(false)
        .ignore_multi_range_requests(true)
        .with_buf_chunk_size(PIECE);
    let answer = service
        .oneshot(asked)
        .await
        .map_err(|e| Error::internal("an object could not be served", e))?;
    let mut response = answer.map(Body::new).into_response();
    if matches!(
        response.status(),
        StatusCode::OK | StatusCode::PARTIAL_CONTENT
    ) {
        describe(&mut response, path);
    } else {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// The range that is asked for, where the file service would answer otherwise than RFC 9110 has it.
///
/// Section 13.1.5: a range under another `If-Range` than this object's validator is no range.
/// Section 14.1.2: the last N bytes of an object that has fewer are the whole object.
fn range(headers: &HeaderMap, etag: &str, size: u64) -> Option<HeaderValue> {
    let range = headers.get(header::RANGE)?;
    if headers
        .get(header::IF_RANGE)
        .is_some_and(|validator| validator != etag)
    {
        return None;
    }
    let suffix: Option<u64> = range
        .to_str()
        .ok()
        .and_then(|text| text.trim().strip_prefix("bytes=-")?.parse().ok());
    match suffix {
        Some(suffix) if suffix > size && size > 0 => Some(HeaderValue::from_static("bytes=0-")),
        _ => Some(range.clone()),
    }
}

/// What is there of a growing object, and then what comes, until nobody sends any more.
pub(super) fn follow(path: &ObjectPath, growing: Growing) -> Response {
    let mut response = Body::from_stream(pieces(growing)).into_response();
    describe(&mut response, path);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Ranges of a file: first byte, and the one after the last.
pub(super) type Ranges = (Arc<File>, Vec<(u64, u64)>);

/// Ranges of files, one after the other.
pub(super) fn ranges(path: &ObjectPath, files: Vec<Ranges>) -> Response {
    let len: u64 = files
        .iter()
        .flat_map(|(_, ranges)| ranges)
        .map(|(start, end)| end.saturating_sub(*start))
        .sum();
    let left: VecDeque<_> = files
        .into_iter()
        .flat_map(|(file, ranges)| {
            let of_file = move |(start, end)| (Arc::clone(&file), start, end);
            ranges.into_iter().map(of_file)
        })
        .collect();
    let pieces = stream::try_unfold(left, |mut left| async move {
        let Some((file, start, end)) = left.pop_front() else {
            return Ok(None);
        };
        let wanted = usize::try_from(end.saturating_sub(start)).unwrap_or(PIECE);
        let piece = read_piece(Arc::clone(&file), start, wanted.min(PIECE)).await?;
        if piece.is_empty() && start < end {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let start = start + piece.len() as u64;
        if start < end {
            left.push_front((file, start, end));
        }
        Ok(Some((Bytes::from(piece), left)))
    });
    let mut response = Body::from_stream(pieces).into_response();
    describe(&mut response, path);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    response
}

/// Headers that keep a browser from running what somebody has uploaded.
fn describe(response: &mut Response, path: &ObjectPath) {
    let headers = response.headers_mut();
    let media_type = media_type::of(path);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type.unwrap_or("application/octet-stream")),
    );
    if media_type.is_none() {
        headers.insert(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment"),
        );
    }
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
}

fn pieces(growing: Growing) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((growing, 0_u64), |(mut growing, position)| async move {
        loop {
            let Extent { len, open } = *growing.extent.borrow_and_update();
            if position < len {
                let wanted = usize::try_from(len - position).unwrap_or(PIECE).min(PIECE);
                let piece = read_piece(Arc::clone(&growing.file), position, wanted).await?;
                if piece.is_empty() {
                    return Ok(None); // cut below what was announced: the upload was discarded
                }
                let position = position + piece.len() as u64;
                return Ok(Some((Bytes::from(piece), (growing, position))));
            }
            if !open || growing.extent.changed().await.is_err() {
                let at_end = growing.extent.borrow().len <= position;
                if at_end {
                    return Ok(None);
                }
            }
        }
    })
}

async fn read_piece(file: Arc<File>, position: u64, wanted: usize) -> io::Result<Vec<u8>> {
    workdir::blocking(move || workdir::read_range(&file, position, wanted))
        .await
        .map_err(io::Error::other)
}

/// A backend for `ServeDir` that has one file, whatever the path.
#[derive(Clone)]
struct OneFile(ObjectFile);

struct Shown {
    size: u64,
    modified: SystemTime,
}

impl Metadata for Shown {
    fn is_dir(&self) -> bool {
        false
    }

    fn modified(&self) -> io::Result<SystemTime> {
        Ok(self.modified)
    }

    fn len(&self) -> u64 {
        self.size
    }
}

impl Backend for OneFile {
    type File = Reader;
    type Metadata = Shown;
    type OpenFuture = Ready<io::Result<Reader>>;
    type MetadataFuture = Ready<io::Result<Shown>>;

    fn open(&self, _: PathBuf) -> Self::OpenFuture {
        ready(Ok(Reader {
            object: self.0.clone(),
            position: 0,
            piece: Vec::new(),
            taken: 0,
            reading: None,
        }))
    }

    fn metadata(&self, _: PathBuf) -> Self::MetadataFuture {
        ready(Ok(Shown {
            size: self.0.size,
            modified: self.0.modified,
        }))
    }
}

/// Reads a file up to the length that is shown, without moving a cursor that others share.
struct Reader {
    object: ObjectFile,
    position: u64,
    piece: Vec<u8>,
    taken: usize,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

impl ServedFile for Reader {
    type Metadata = Shown;
    type MetadataFuture<'a> = Ready<io::Result<Shown>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(Shown {
            size: self.object.size,
            modified: self.object.modified,
        }))
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.taken < self.piece.len() {
                let len = buffer.remaining().min(self.piece.len() - self.taken);
                buffer.put_slice(&self.piece[self.taken..self.taken + len]);
                self.taken += len;
                return Poll::Ready(Ok(()));
            }
            if let Some(reading) = &mut self.reading {
                let read = poll_ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other)?;
                self.reading = None;
                self.piece = read?;
                self.taken = 0;
                self.position += self.piece.len() as u64;
                if self.piece.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let left = self.object.size.saturating_sub(self.position);
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            if wanted == 0 {
                return Poll::Ready(Ok(()));
            }
            let (file, position) = (Arc::clone(&self.object.file), self.position);
            self.reading = Some(tokio::task::spawn_blocking(move || {
                workdir::read_range(&file, position, wanted).map_err(io::Error::other)
            }));
        }
    }
}

impl AsyncSeek for Reader {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let base = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(change) => self.object.size.checked_add_signed(change),
            SeekFrom::Current(change) => self.position.checked_add_signed(change),
        };
        self.position = base.ok_or(io::ErrorKind::InvalidInput)?;
        self.piece.clear();
        self.taken = 0;
        self.reading = None;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}
