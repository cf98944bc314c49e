//! The body of an answer: whole, or frame by frame without being copied, and spoilt on its way when a rule says so.

use super::listener::NoAnswer;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// How the body of an answer is spoilt; its headers say that nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spoil {
    /// Real time before each frame of at most 64 KiB.
    pub pause: Duration,
    /// The connection is closed after so many bytes.
    pub cut_after: Option<u64>,
    /// The byte at this place is another one.
    pub flip_at: Option<u64>,
    /// The checksum headers are wrong; the body is right.
    pub checksum: bool,
}

impl Spoil {
    /// So much time before each 64 KiB.
    pub fn slow(pause: Duration) -> Self {
        Self { pause, ..Self::default() }
    }

    /// Closed after so many bytes.
    pub fn cut(bytes: u64) -> Self {
        Self { cut_after: Some(bytes), ..Self::default() }
    }

    /// One byte is another one.
    pub fn flip(at: u64) -> Self {
        Self { flip_at: Some(at), ..Self::default() }
    }

    /// The checksum headers are wrong.
    pub fn checksum() -> Self {
        Self { checksum: true, ..Self::default() }
    }
}

/// The longest frame of a spoilt body.
const FRAME: usize = 64 << 10;

/// Between the last bytes and the cut.
const BEFORE_THE_CUT: Duration = Duration::from_millis(20);

type Rest = Box<dyn Iterator<Item = Bytes> + Send + Sync>;

/// The body of an answer.
pub(crate) struct Payload {
    frames: Rest,
    /// Bytes to come, as the headers promise them.
    left: u64,
    spoil: Option<Spoiling>,
}

struct Spoiling {
    spoil: Spoil,
    /// Bytes that have gone.
    at: u64,
    pieces: VecDeque<Bytes>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Payload {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let left = bytes.len() as u64;
        Self { frames: Box::new((left > 0).then_some(bytes).into_iter()), left, spoil: None }
    }

    pub(crate) fn of(frames: impl Iterator<Item = Bytes> + Send + Sync + 'static, left: u64) -> Self {
        Self { frames: Box::new(frames), left, spoil: None }
    }

    pub(crate) fn spoil(&mut self, spoil: &Spoil) {
        self.spoil = Some(Spoiling { spoil: spoil.clone(), at: 0, pieces: VecDeque::new(), sleep: None });
    }
}

impl Spoiling {
    fn next(&mut self, frames: &mut Rest, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, NoAnswer>>> {
        if self.pieces.is_empty() {
            let Some(mut frame) = frames.next() else { return Poll::Ready(None) };
            while frame.len() > FRAME {
                let piece = frame.split_to(FRAME);
                self.pieces.push_back(piece);
            }
            self.pieces.push_back(frame);
        }
        if !self.spoil.pause.is_zero() {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.spoil.pause)));
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        let Some(mut piece) = self.pieces.pop_front() else { return Poll::Ready(None) };
        let end = self.at + piece.len() as u64;
        if let Some(cut) = self.spoil.cut_after
            && end > cut
        {
            let keep = usize::try_from(cut - self.at).unwrap_or_default();
            if keep == 0 {
                // A moment, so that what came before the cut is on its way.
                let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(BEFORE_THE_CUT)));
                self.pieces.push_front(piece);
                ready!(sleep.as_mut().poll(context));
                return Poll::Ready(Some(Err(NoAnswer)));
            }
            self.pieces.push_front(piece.slice(keep..));
            piece.truncate(keep);
        }
        if let Some(flip) = self.spoil.flip_at
            && (self.at..end).contains(&flip)
        {
            let mut other = piece.to_vec();
            let place = usize::try_from(flip - self.at).unwrap_or_default();
            if let Some(byte) = other.get_mut(place) {
                *byte ^= 0x20;
            }
            piece = other.into();
        }
        self.at += piece.len() as u64;
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = NoAnswer;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, NoAnswer>>> {
        let this = &mut *self;
        let next = match &mut this.spoil {
            Some(spoiling) => ready!(spoiling.next(&mut this.frames, context)),
            None => this.frames.next().map(Ok),
        };
        if let Some(Ok(bytes)) = &next {
            this.left = this.left.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(next.map(|frame| frame.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
