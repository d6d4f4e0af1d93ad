//! Copies of large values to memory that is in no cache and need not be.

/// Appends `bytes` to `into` with stores that go past the caches: the memory's old content isn't
/// fetched first, and nothing that is in use is driven out. For values too large to be read soon
/// from a cache; short runs are copied as usual.
pub(crate) fn append_streaming(into: &mut Vec<u8>, bytes: &[u8]) {
    into.reserve(bytes.len());
    #[cfg(target_arch = "x86_64")]
    let bytes = {
        let to_line = into.as_ptr().wrapping_add(into.len()).align_offset(LINE);
        let (head, rest) = bytes.split_at(to_line.min(bytes.len()));
        into.extend_from_slice(head);
        append_lines(into, rest)
    };
    into.extend_from_slice(bytes);
}

/// The length of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Appends as many whole lines of `bytes` as there are; answers what is left.
#[cfg(target_arch = "x86_64")]
fn append_lines<'a>(into: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

    let (lines, rest) = bytes.as_chunks::<LINE>();
    let room = into.spare_capacity_mut();
    assert!(
        room.len() >= lines.len() * LINE
            && (lines.is_empty() || room.as_ptr().addr().is_multiple_of(LINE))
    );
    let start = room.as_mut_ptr().cast::<[u8; LINE]>();
    for (index, line) in lines.iter().enumerate() {
        #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one copy of a line")]
        // SAFETY: the assertion above gives all lines room at 64-byte alignment, four 16-byte words
        // each; `line` is 64 readable bytes; SSE2 is part of x86-64.
        unsafe {
            let from = line.as_ptr().cast::<__m128i>();
            let to = start.add(index).cast::<__m128i>();
            _mm_stream_si128(to, _mm_loadu_si128(from));
            _mm_stream_si128(to.add(1), _mm_loadu_si128(from.add(1)));
            _mm_stream_si128(to.add(2), _mm_loadu_si128(from.add(2)));
            _mm_stream_si128(to.add(3), _mm_loadu_si128(from.add(3)));
        }
    }
    // Orders the streamed stores, which are weakly ordered, before whatever hands the bytes to
    // another thread.
    // SAFETY: SSE is part of x86-64.
    unsafe { _mm_sfence() };
    // SAFETY: the loop wrote these bytes, within the capacity.
    unsafe { into.set_len(into.len() + lines.len() * LINE) };
    rest
}

#[cfg(test)]
mod tests {
    use super::append_streaming;

    #[test]
    fn every_length_at_every_alignment_arrives() {
        let source: Vec<u8> = (0..400).map(|at| at as u8).collect();
        for before in 0..70 {
            for from in [0, 1, 17] {
                for len in (0..150).chain([255, 256, 300]) {
                    let mut into = source[..before].to_vec();
                    append_streaming(&mut into, &source[from..from + len]);
                    assert_eq!(into, [&source[..before], &source[from..from + len]].concat());
                }
            }
        }
    }
}
