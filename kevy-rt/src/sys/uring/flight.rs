//! A send that the kernel is at: the output, how much of it went, and the list of its pieces.

use std::os::fd::RawFd;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use crate::shared::Out;

/// Pieces per send: what the system takes at most (`IOV_MAX`).
const PIECES: usize = 1024;

/// Bytes per send, copied in one go while everything else of the shard waits; the rest follows when
/// they are gone. Smaller: more sends per value. Larger: longer turns.
const SEND_BYTES: usize = 1 << 20;

/// A full socket buffer is waited for in the kernel; a peer that is gone is an error, not a signal.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// An output on its way. It is not touched between [`Flight::submission`] and its completion.
pub(super) struct Flight {
    socket: RawFd,
    out: Out,
    sent: usize,
    gather: Option<Box<Gather>>,
    is_cancelled: bool,
}

/// What the kernel reads of a send of several pieces.
struct Gather {
    header: libc::msghdr,
    pieces: Vec<libc::iovec>,
}

impl Flight {
    pub(super) fn new(socket: RawFd, out: Out) -> Self {
        Flight { socket, out, sent: 0, gather: None, is_cancelled: false }
    }

    /// The submission that sends what is left. It points into this flight's output and, by way of
    /// a box, at its pieces, so the flight itself may move.
    pub(super) fn submission(&mut self) -> squeue::Entry {
        if self.out.is_flat() {
            let rest = &self.out.flat()[self.sent..];
            let len = rest.len().min(SEND_BYTES) as u32;
            return opcode::Send::new(Fd(self.socket), rest.as_ptr(), len).flags(FLAGS).build();
        }
        let gather = self.gather.insert(Gather::new(&self.out, self.sent));
        opcode::SendMsg::new(Fd(self.socket), &raw const gather.header).flags(FLAGS as u32).build()
    }

    /// The kernel took `bytes` more. Whether some are left to be sent.
    pub(super) fn advance(&mut self, bytes: usize) -> bool {
        self.sent += bytes;
        self.sent < self.out.len() && !self.is_cancelled
    }

    /// What is left is not to be sent any more.
    pub(super) fn cancel(&mut self) {
        self.is_cancelled = true;
    }

    /// The output, if all of it went.
    pub(super) fn into_sent(self) -> Option<Out> {
        (self.sent == self.out.len()).then_some(self.out)
    }
}

impl Gather {
    /// The pieces of `out` after its first `sent` bytes, as many as go in one send.
    fn new(out: &Out, sent: usize) -> Box<Self> {
        let mut room = SEND_BYTES;
        let first = out.pieces_after(sent).take(PIECES).map_while(|bytes| {
            let bytes = &bytes[..bytes.len().min(room)];
            room -= bytes.len();
            (!bytes.is_empty()).then(|| piece(bytes))
        });
        let pieces = first.collect();
        // SAFETY: the header is integers and pointers, for which zeros are a value.
        let header = unsafe { std::mem::zeroed::<libc::msghdr>() };
        let mut gather = Box::new(Gather { header, pieces });
        gather.header.msg_iov = gather.pieces.as_mut_ptr();
        gather.header.msg_iovlen = gather.pieces.len() as _;
        gather
    }
}

fn piece(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}
