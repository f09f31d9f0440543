//! The direct writer of a connection in memory.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use chat_core::{DirectWrite, DirectlyWritten};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::wire::{Frame, Line};

/// A socket that takes whole frames while the peer reads. Of the frame at which the peer stops, it takes one byte, or
/// the connection buffers it and all others.
#[derive(Debug)]
pub(super) struct DirectLine {
    pub(super) line: Arc<Mutex<Line>>,
    pub(super) news: Arc<Notify>,
}

impl DirectWrite for DirectLine {
    fn try_write(&self, bytes: &Bytes) -> io::Result<DirectlyWritten> {
        let mut line = self.line.lock();
        assert!(!line.panics, "as the test wants it");
        assert!(line.buffer.is_empty() && line.partial.is_empty(), "frames of the session wait");
        assert!(line.closed_with.is_none(), "the session has closed");
        if line.failing {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if line.allowance == Some(0) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        while let Some((text, length)) = first_frame(&bytes[taken..]) {
            if line.allowance == Some(0) && line.buffers_direct {
                line.buffer.push_back(Frame::Text(text));
                taken += length;
                continue;
            }
            if line.allowance == Some(0) {
                line.partial.push(bytes[taken]);
                taken += 1;
                break;
            }
            line.allowance = line.allowance.map(|left| left - 1);
            line.taken.push_back(Frame::Text(text));
            line.direct_frames += 1;
            taken += length;
        }
        line.flushes += usize::from(taken > 0);
        self.news.notify_one();
        let is_flushed = line.buffer.is_empty();
        Ok(if is_flushed { DirectlyWritten::Bytes(taken) } else { DirectlyWritten::Buffered })
    }
}

/// Adds the rest of frames of which the beginning was written directly. They wait as other frames do.
pub(super) fn add_rest(line: &mut Line, rest: &[u8]) {
    assert!(line.buffer.is_empty(), "frames of the session are before the rest");
    let bytes = [std::mem::take(&mut line.partial), rest.to_vec()].concat();
    let mut taken = 0;
    while let Some((text, length)) = first_frame(&bytes[taken..]) {
        line.buffer.push_back(Frame::Text(text));
        taken += length;
    }
    assert_eq!(taken, bytes.len(), "whole frames");
}

/// Returns the text of the first frame, and the length of the frame.
fn first_frame(bytes: &[u8]) -> Option<(String, usize)> {
    let (first, length) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first, 0x81, "a whole text message");
    let (start, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 => panic!("a frame of more than 64 KiB"),
        short => (2, usize::from(short)),
    };
    let text = bytes.get(start..start + length).expect("a whole frame");
    Some((String::from_utf8(text.to_vec()).expect("text is UTF-8"), start + length))
}
