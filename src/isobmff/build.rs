//! Bytes of boxes, from their parts.

/// A box of type `kind` around `payload`. A payload that does not fit a 32-bit size gets a 64-bit
/// one.
#[must_use]
pub fn boxed(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let size = super::reader::length(payload).saturating_add(8);
    let mut bytes = Vec::new();
    match u32::try_from(size) {
        Ok(size) => {
            bytes.extend(size.to_be_bytes());
            bytes.extend(kind);
        }
        Err(_) => {
            bytes.extend(1u32.to_be_bytes());
            bytes.extend(kind);
            bytes.extend(size.saturating_add(8).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// A box whose payload begins with a version and 24 bits of flags.
#[must_use]
pub fn full(kind: &[u8; 4], version: u8, flags: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = flags.to_be_bytes();
    boxed(kind, &concat(&[[version, a, b, c].as_slice(), payload]))
}

/// The parts, one after the other.
#[must_use]
pub fn concat<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|part| part.as_ref())
        .copied()
        .collect()
}
