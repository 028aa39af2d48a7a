//! Typed fields of the boxes, one file per group.
//!
//! Every `decode` takes one whole box and gives its fields or an error; none reads outside its box.
//! What the `mp4` crate decodes well goes through it, in `through_mp4` and nowhere else.

mod auxiliary;
mod configuration;
mod encode;
mod entry;
mod event;
mod file;
mod fragment;
mod index;
mod media;
mod movie;
mod protection;
mod table;
mod time;
mod visual;

pub use auxiliary::{Pssh, Saio, Saiz, Sbgp, Senc, SencSample, Sgpd, Subs};
pub use configuration::{
    Av1C, AvcC, Configuration, DOps, DfLa, Esds, HvcC, NalArray, Stpp, VpcC, VvcC, VvcPtl,
};
pub use entry::{Audio, Btrt, SampleEntry, Stsd, Visual};
pub use event::{Emsg, EventTime};
pub use file::FileType;
pub use fragment::{Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, sample_flags};
pub use index::{Mfra, Sidx, SidxReference, Tfra};
pub use media::{Dref, Elng, Kind, Smhd, Vmhd};
pub use movie::{Hdlr, Mdhd, Mehd, Mvhd, Tkhd, Trex};
pub use protection::{Sinf, Tenc};
pub use table::{ChunkOffsets, Ctts, Edit, Elst, Stsc, Stss, Stsz, Stts};
pub use time::{Ntp, Prft};
pub use visual::{Clli, Colr, Fiel, Mdcv, Pasp};
