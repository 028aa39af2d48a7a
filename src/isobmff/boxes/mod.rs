//! Typed fields of the boxes, one file per group.
//!
//! Every `decode` takes one whole box and gives its fields or an error; none reads outside its box.
//! What the `mp4` crate decodes well goes through it, in `through_mp4` and nowhere else.

mod file;
mod fragment;
mod movie;
mod time;

pub use file::FileType;
pub use fragment::{Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, sample_flags};
pub use movie::{Hdlr, Mdhd, Mehd, Mvhd, Tkhd, Trex};
pub use time::{Ntp, Prft};
