//! What an earlier server left unfinished is mended before the first request.
//!
//! Only what was under way is looked at, so a start costs the same after a million uploads.

use super::Ingest;
use crate::catalog::{NewObject, Object};
use crate::names::{ObjectPath, StreamId};
use crate::{Error, Kind, Result};

impl Ingest {
    pub(super) async fn recover(&self) -> Result<()> {
        self.recover_tracks().await?;
        self.recover_kept().await?;
        self.recover_growing().await?;
        self.finish_deletions().await?;
        self.workdir.clear_incoming()
    }

    /// Streams that were being deleted go on being deleted.
    async fn finish_deletions(&self) -> Result<()> {
        for stream in self.catalog.deleted_streams().await? {
            self.workdir.delete_stream(stream)?;
            self.catalog.purge_stream(stream).await?;
        }
        Ok(())
    }

    /// Bytes that were kept without a record, or whose record is gone, are removed; but those that are
    /// recorded as what their path serves are put back there: what has taken their place was not
    /// recorded. As many files are looked at as may be kept.
    async fn recover_kept(&self) -> Result<()> {
        let known = self.catalog.read(|tables| tables.all_kept()).await?;
        let unknown = self
            .workdir
            .unknown_kept(|stream| known.get(&stream).map_or(&[][..], Vec::as_slice))?;
        for (stream, upload) in unknown {
            let served = self
                .catalog
                .read(move |tables| tables.served(stream, upload))
                .await?;
            if let Some(object) = served
                && let Err(e) = self.put_back(&object, stream, upload)
            {
                give_up_on(stream, &object, &e);
                continue;
            }
            self.workdir.forget_kept(stream, &[upload]);
        }
        Ok(())
    }

    fn put_back(&self, object: &Object, stream: StreamId, upload: i64) -> Result<()> {
        let path = known_path(&object.path)?;
        if self
            .workdir
            .restore_kept(stream, upload, &path, object.size)?
        {
            tracing::info!("Object put back: stream={stream}, file={path}");
        }
        Ok(())
    }

    /// A track's file may be longer than recorded, or a next part may not have been recorded.
    async fn recover_tracks(&self) -> Result<()> {
        for (stream, object) in self.catalog.read(|tables| tables.tracks()).await? {
            if let Err(e) = self.recover_track(stream, &object) {
                give_up_on(stream, &object, &e);
            }
        }
        Ok(())
    }

    fn recover_track(&self, stream: StreamId, object: &Object) -> Result<()> {
        let path = known_path(&object.path)?;
        if self.workdir.restore_part(stream, &path, object.id)? {
            tracing::info!("Track put back: stream={stream}, file={path}");
        }
        if !self.workdir.mend_track(stream, &path, object.size)? {
            tracing::error!("Track is shorter than recorded: stream={stream}, file={path}");
        }
        Ok(())
    }

    /// A body of unknown length that was under way ends at its last recorded fragment.
    async fn recover_growing(&self) -> Result<()> {
        for (stream, object) in self.catalog.read(|tables| tables.growing_objects()).await? {
            if let Err(e) = self.recover_object(stream, &object).await {
                give_up_on(stream, &object, &e);
            }
        }
        Ok(())
    }

    async fn recover_object(&self, stream: StreamId, object: &Object) -> Result<()> {
        let path = known_path(&object.path)?;
        let id = object.id;
        let left = self.workdir.adopt_growing(stream, id)?;
        let Some(mut spool) = left.filter(|_| object.media_end > 0) else {
            return self
                .catalog
                .write(move |tables| tables.drop_growing(id))
                .await;
        };
        let len = object.media_end.min(spool.len());
        spool.truncate(len)?;
        let name = object.path.clone();
        let held = self
            .catalog
            .read(move |tables| tables.object(stream, &name))
            .await?;
        let wanted = !held.is_some_and(|held| held.whole);
        if wanted && self.workdir.publish(&mut spool, stream, &path).is_ok() {
            let settled = NewObject {
                stream,
                path: path.clone(),
                upload: object.upload,
                size: len,
                whole: false,
                part: None,
                header_size: object.header_size,
                media_end: len,
                end_time: object.end_time,
            };
            self.catalog
                .write(move |tables| tables.settle_growing(id, &settled))
                .await?;
            self.workdir.forget_part(stream, id);
        } else {
            self.catalog
                .write(move |tables| tables.shelve_growing(id, len))
                .await?;
        }
        tracing::warn!(
            bytes = len,
            "Upload incomplete: stream={stream}, file={path}"
        );
        Ok(())
    }
}

/// One object that cannot be mended must not keep the server from its work.
fn give_up_on(stream: StreamId, object: &Object, e: &Error) {
    let path = &object.path;
    tracing::error!(error = %e.chain(), "Object cannot be mended: stream={stream}, file={path}");
}

fn known_path(text: &str) -> Result<ObjectPath> {
    ObjectPath::parse(text).map_err(|e| {
        Error::new(Kind::Internal, "the catalogue names an impossible path").because(e)
    })
}
