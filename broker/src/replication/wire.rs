//! What master and slave say to each other, on a connection of its own. No I/O.
//!
//! A slave says how far its log goes, 8 bytes each time; the first of these is also where it wants the master to go on:
//!
//! | bytes | content                                                                                              |
//! |-------|------------------------------------------------------------------------------------------------------|
//! | 0..8  | end of the slave's log; [`HELLO`] asks for a [`Welcome`], and once it has that says that the slave   |
//! |       | lives and counts for nothing yet; [`SLAVE`], with the slave's number behind (8), asks for one, too;  |
//! |       | [`MEMBER`], with its id behind (8), asks for one with epochs, under controllers                      |
//!
//! A master says frames:
//!
//! | bytes | content                                                                          |
//! |-------|----------------------------------------------------------------------------------|
//! | 0..8  | position of the first byte that follows; what the slave has said in a [`Welcome`] |
//! | 8..12 | how many bytes follow; 0 says that the master lives                              |
//! | 12..  | the log's bytes, blanks included, of one segment; a record may be in two frames  |
//!
//! A [`Welcome`]'s content is where the master's log begins (8), where it ends (8), and the length of its segments (8). With epochs each of them
//! follows, in order, with where it begins (8, 8). Numbers are big-endian.
//!
//! Source: Apache 5.5 `DefaultHAConnection`, `DefaultHAClient`, which know no [`HELLO`]: no position is negative, so an Apache master has
//! nothing to send to a slave that says it and only says it back as the position of frames that say that it lives; an Apache slave never says it.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use types::PhysicalOffset;

use super::epochs::{Begin, Epoch, Epochs};
use crate::membership::MemberId;

/// Who says nothing for so long is gone, for either end. Source: `haHousekeepingInterval`.
pub(crate) const SILENT_MAX: Duration = Duration::from_secs(20);
/// How often either end says that it lives when there is nothing else to say. Source: `haSendHeartbeatInterval`.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// What only brokers of ours say: the version of what they say is in its last byte.
pub(crate) const HELLO: i64 = i64::from_be_bytes(*b"\xffGANTRY\x01");
/// The same of a broker under controllers.
pub(crate) const MEMBER: i64 = i64::from_be_bytes(*b"\xffGANTRY\x02");
/// The same of a slave that says which one of its master's slaves it is.
pub(crate) const SLAVE: i64 = i64::from_be_bytes(*b"\xffGANTRY\x03");
// Apache's masters take -1 for nothing said.
const _: () = assert!(HELLO < -1 && MEMBER < -1 && SLAVE < -1);
/// Length of what a slave says.
pub(crate) const REPORT_BYTES: usize = 8;
/// Length of a frame without its content.
pub(crate) const HEADER_BYTES: usize = 12;
/// Most bytes of a frame's content that we send. Apache's slaves take almost 4 MiB.
pub(crate) const SENT_BYTES_MAX: u64 = 256 * 1024;
/// Most bytes of a frame's content that we take. Source: `DefaultHAClient.READ_MAX_BUFFER_SIZE`, which Apache's masters keep to.
pub(crate) const TAKEN_BYTES_MAX: usize = 4 * 1024 * 1024;
const WELCOME_BYTES: usize = 24;
/// Of an epoch in a welcome.
const EPOCH_BYTES: usize = 16;

/// What a slave says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It is one of ours; later: it lives, and counts for nothing yet.
    Hello,
    /// It is one of ours; its number follows.
    Slave,
    /// It is one of ours under controllers; its id follows.
    Member,
    /// Its log ends here.
    HasTo(PhysicalOffset),
}

/// What a master says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// It is one of ours, under controllers with the epochs of its log.
    Welcome(Welcome, Option<Epochs>),
    /// A piece of its log; none while it only says that it lives.
    Log { at: PhysicalOffset, bytes: Bytes },
}

/// What a master of ours says of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Where it begins.
    pub(crate) first: PhysicalOffset,
    /// Where it ends.
    pub(crate) end: PhysicalOffset,
    /// Length of its segments.
    pub(crate) segment_bytes: u64,
}

/// Why what was said cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Logs have no such position.
    #[error("{said} is no position of a log")]
    Position {
        /// What was said.
        said: i64,
    },
    /// More than is taken, or a welcome of another length.
    #[error("a frame of {bytes} bytes, at most {TAKEN_BYTES_MAX} are taken")]
    Length {
        /// What was announced.
        bytes: u32,
    },
    /// No epochs of a log.
    #[error("what it says are no epochs of a log")]
    Epochs,
    /// A newer or another program.
    #[error("the other broker's way to replicate is not known here: it says {said:#x}")]
    Unknown {
        /// What was said.
        said: i64,
    },
}

impl Report {
    pub(crate) fn encode(self) -> [u8; REPORT_BYTES] {
        match self {
            Self::Hello => HELLO.to_be_bytes(),
            Self::Slave => SLAVE.to_be_bytes(),
            Self::Member => MEMBER.to_be_bytes(),
            Self::HasTo(end) => end.0.to_be_bytes(),
        }
    }

    pub(crate) fn decode(said: [u8; REPORT_BYTES]) -> Result<Self, Error> {
        match i64::from_be_bytes(said) {
            HELLO => Ok(Self::Hello),
            SLAVE => Ok(Self::Slave),
            MEMBER => Ok(Self::Member),
            said => position(said).map(Self::HasTo),
        }
    }
}

/// A frame's header, to be followed by `bytes` of the log.
pub(crate) fn header(at: PhysicalOffset, bytes: usize) -> [u8; HEADER_BYTES] {
    put_header(at.0.cast_signed(), u32::try_from(bytes).expect("a frame is smaller than a segment"))
}

fn put_header(at: i64, bytes: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let mut out = &mut header[..];
    out.put_i64(at);
    out.put_u32(bytes);
    header
}

impl Welcome {
    /// The whole frame, for who has said [`Report::Member`] with the epochs.
    pub(crate) fn encode(self, epochs: Option<&Epochs>) -> Vec<u8> {
        let (said, epochs) = epochs.map_or((HELLO, &[][..]), |epochs| (MEMBER, epochs.all()));
        let bytes = WELCOME_BYTES + epochs.len() * EPOCH_BYTES;
        let mut frame = put_header(said, u32::try_from(bytes).expect("epochs are few")).to_vec();
        frame.put_u64(self.first.0);
        frame.put_u64(self.end.0);
        frame.put_u64(self.segment_bytes);
        for Begin { epoch, start } in epochs {
            frame.put_i64(epoch.0.into());
            frame.put_u64(*start);
        }
        frame
    }
}

/// What a broker of ours says first of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// Nothing: it is not to be waited for.
    Anyone,
    /// Which of its master's slaves it is.
    Slave(MemberId),
    /// Which broker of its name it is, under controllers.
    Member(MemberId),
}

impl Greeting {
    pub(crate) fn encode(self) -> Vec<u8> {
        let (report, id) = match self {
            Self::Anyone => return Report::Hello.encode().to_vec(),
            Self::Slave(id) => (Report::Slave, id),
            Self::Member(id) => (Report::Member, id),
        };
        [report.encode(), id.0.to_be_bytes()].concat()
    }
}

/// Takes the next whole frame from the front of `input`; `None` asks for more bytes.
///
/// # Errors
/// [`Error`]; nothing was taken.
pub(crate) fn take_frame(input: &mut BytesMut) -> Result<Option<Frame>, Error> {
    let Some(mut header) = input.first_chunk::<HEADER_BYTES>().map(|header| &header[..]) else { return Ok(None) };
    let (at, bytes) = (header.get_i64(), header.get_u32());
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    let epochs_bytes = length.checked_sub(WELCOME_BYTES);
    let (is_fit, at) = match at {
        HELLO => (epochs_bytes == Some(0), None),
        MEMBER => (epochs_bytes.is_some_and(|bytes| bytes % EPOCH_BYTES == 0), None),
        at => (true, Some(at)),
    };
    if length > TAKEN_BYTES_MAX || !is_fit {
        return Err(Error::Length { bytes });
    }
    let at = at.map(position).transpose()?;
    if input.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    let is_member = input.starts_with(&Report::Member.encode());
    input.advance(HEADER_BYTES);
    let mut content = input.split_to(length).freeze();
    if let Some(at) = at {
        return Ok(Some(Frame::Log { at, bytes: content }));
    }
    let mut place = || content.get_i64();
    let (first, end) = (position(place())?, position(place())?);
    let segment_bytes = content.get_u64();
    let epochs = is_member.then(|| epochs(content)).transpose()?;
    Ok(Some(Frame::Welcome(Welcome { first, end, segment_bytes }, epochs)))
}

/// All that are there.
fn epochs(mut content: Bytes) -> Result<Epochs, Error> {
    let mut begins = Vec::with_capacity(content.len() / EPOCH_BYTES);
    while content.len() >= EPOCH_BYTES {
        let (epoch, start) = (content.get_i64(), position(content.get_i64())?);
        begins.push(Begin { epoch: Epoch(i32::try_from(epoch).map_err(|_| Error::Epochs)?), start: start.0 });
    }
    Epochs::new(begins).map_err(|_| Error::Epochs)
}

/// A position; other hellos than ours are those of programs that we do not know.
fn position(said: i64) -> Result<PhysicalOffset, Error> {
    let is_hello = said >> 8 == HELLO >> 8;
    match u64::try_from(said) {
        Ok(at) => Ok(PhysicalOffset(at)),
        Err(_) if is_hello => Err(Error::Unknown { said }),
        Err(_) => Err(Error::Position { said }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Frame>, Error> {
        let (mut input, mut frames, mut from) = (BytesMut::new(), Vec::new(), 0);
        for to in cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]) {
            input.extend_from_slice(&bytes[from..to.max(from)]);
            from = to.max(from);
            while let Some(frame) = take_frame(&mut input)? {
                frames.push(frame);
            }
        }
        assert!(input.len() < HEADER_BYTES + TAKEN_BYTES_MAX, "what is left is less than a frame");
        Ok(frames)
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(
            pieces in prop::collection::vec((0..u64::MAX / 2, prop::collection::vec(any::<u8>(), 0..99)), 0..9),
            places: (u32, u32, u64),
            epochs in prop::option::of(prop::collection::vec((1..9_i32, 0..99_u64), 0..9)),
            cuts: Vec<usize>,
        ) {
            let (first, end) = (PhysicalOffset(places.0.into()), PhysicalOffset(places.1.into()));
            let welcome = Welcome { first, end, segment_bytes: places.2 };
            let epochs = epochs.map(|steps| {
                let begins = steps.iter().scan((0, 0), |(epoch, start), step| {
                    (*epoch, *start) = (*epoch + step.0, *start + step.1);
                    Some(Begin { epoch: Epoch(*epoch), start: *start })
                });
                Epochs::new(begins.collect()).expect("they rise")
            });
            let (mut bytes, mut expected) = (welcome.encode(epochs.as_ref()), vec![Frame::Welcome(welcome, epochs)]);
            for (at, piece) in pieces {
                bytes.extend(header(PhysicalOffset(at), piece.len()));
                bytes.extend(&piece);
                expected.push(Frame::Log { at: PhysicalOffset(at), bytes: piece.into() });
            }
            prop_assert_eq!(frames(&bytes, &cuts), Ok(expected));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, cuts: Vec<usize>) {
            let _ = frames(&bytes, &cuts);
        }

        #[test]
        fn a_report_is_read_as_it_was_said(end in 0..=u64::MAX / 2) {
            let report = Report::HasTo(PhysicalOffset(end));
            prop_assert_eq!(Report::decode(report.encode()), Ok(report));
        }
    }

    #[test]
    fn a_hello_is_no_position_and_another_version_is_not_ours() {
        for report in [Report::Hello, Report::Slave, Report::Member] {
            assert_eq!(Report::decode(report.encode()), Ok(report));
        }
        assert_eq!(Report::decode((-5_i64).to_be_bytes()), Err(Error::Position { said: -5 }));
        let newer = SLAVE + 1;
        assert_eq!(Report::decode(newer.to_be_bytes()), Err(Error::Unknown { said: newer }));
    }

    #[test]
    fn what_are_no_epochs_is_refused() {
        let welcome = Welcome { first: PhysicalOffset(0), end: PhysicalOffset(9), segment_bytes: 1 };
        let epochs = Epochs::new(vec![Begin { epoch: Epoch(3), start: 0 }]).expect("one");
        let mut twice = welcome.encode(Some(&epochs));
        twice.extend_from_within(twice.len() - EPOCH_BYTES..);
        twice[HEADER_BYTES - 1] += EPOCH_BYTES as u8;
        assert_eq!(take_frame(&mut twice[..].into()), Err(Error::Epochs));
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_there() {
        let too_long = put_header(0, TAKEN_BYTES_MAX as u32 + 1);
        assert_eq!(take_frame(&mut too_long[..].into()), Err(Error::Length { bytes: TAKEN_BYTES_MAX as u32 + 1 }));
        for (said, bytes) in [(HELLO, 23), (HELLO, 40), (MEMBER, 23), (MEMBER, 39)] {
            let welcome = put_header(said, bytes);
            assert_eq!(take_frame(&mut welcome[..].into()), Err(Error::Length { bytes }));
        }
    }
}
