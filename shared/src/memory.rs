//! What is left in this process's memory: for tests that secrets are wiped (security requirement 71).

use std::fs::{File, read_to_string};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// The canary is kept masked, so that looking for it does not leave it lying about.
const MASK: u8 = 0xa5;

/// A secret of 32 characters that is nowhere in memory in clear but where it is told.
pub(crate) struct Canary([u8; 32]);

impl Canary {
    /// One for this test alone.
    pub(crate) fn new(number: u8) -> Self {
        Self(std::array::from_fn(|at| (b'a' + (number.wrapping_mul(31) ^ u8::try_from(at).unwrap_or(0).wrapping_mul(7)) % 26) ^ MASK))
    }

    /// Its text. It is written into a buffer that need not grow, for growing leaves copies.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        text.extend(self.0.iter().map(|masked| char::from(masked ^ MASK)));
        text
    }

    /// How many copies of it are in memory that can be written to: heap, stacks and statics. Its second half is enough to count as one,
    /// for an allocator writes its own notes over the first bytes of what is given back.
    pub(crate) fn copies(&self) -> usize {
        const CHUNK: usize = 1 << 20;
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; CHUNK];
        // What is read passes through the buffer, which is therefore left out itself.
        let own = buffer.as_ptr().addr() as u64..buffer.as_ptr().addr() as u64 + CHUNK as u64;
        let mut found = 0;
        for line in read_to_string("/proc/self/maps").unwrap().lines() {
            let (range, rest) = line.split_once(' ').unwrap();
            if !rest.starts_with("rw") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            let parts = if (from..to).contains(&own.start) { [from..own.start, own.end..to] } else { [from..to, to..to] };
            found += parts.into_iter().map(|part| self.copies_in(&memory, part, &mut buffer)).sum::<usize>();
        }
        found
    }

    fn copies_in(&self, memory: &File, mut part: Range<u64>, buffer: &mut [u8]) -> usize {
        let (mut found, wanted) = (0, &self.0[16..]);
        let length = wanted.len();
        while part.start + length as u64 <= part.end {
            let size = usize::try_from(part.end - part.start).unwrap().min(buffer.len());
            let Ok(read) = memory.read_at(&mut buffer[..size], part.start) else { break };
            buffer[..read].iter_mut().for_each(|byte| *byte ^= MASK);
            found += buffer[..read].windows(length).filter(|window| *window == wanted).count();
            buffer[..read].fill(0);
            // Consecutive reads overlap by one byte less than the canary, so that each copy is counted once.
            part.start += (read.max(length) - length + 1) as u64;
        }
        found
    }
}
