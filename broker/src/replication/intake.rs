//! What a slave hears, made whole records: pieces of the master's log in, records out, blanks left out. No I/O.

use bytes::{Buf, Bytes, BytesMut};
use record::{BLANK_BYTES, Peek};
use types::PhysicalOffset;

/// Most bytes of records that are given at once, unless the first alone has more.
const RECORDS_BYTES_MAX: usize = 1024 * 1024;

/// A stretch of the master's log. Invariant: `buffer` begins at `at`, and `skip` bytes from there on are a blank's; both are empty as long
/// as `own` is not.
#[derive(Debug)]
pub(crate) struct Intake {
    segment_bytes: u64,
    at: u64,
    /// What the master's log must have from `at` on: what has not come yet of this log's last record.
    own: Bytes,
    buffer: BytesMut,
    skip: u64,
}

/// Why what came is no log that goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A piece from elsewhere.
    #[error("the master sends its log from {found} on, this log goes on at {expected}")]
    Elsewhere {
        /// Where it begins.
        found: PhysicalOffset,
        /// Where it should.
        expected: PhysicalOffset,
    },
    /// Two logs.
    #[error(
        "this log and the master's have parted: at {at}, in this log's last record, they have different bytes. This one has records that \
         the master never had"
    )]
    Parted {
        /// The last record's position, or one in it.
        at: PhysicalOffset,
    },
    /// No record.
    #[error("what the master sends at {at} is no record: {problem}")]
    NoRecord {
        /// Where.
        at: PhysicalOffset,
        /// What is wrong.
        problem: String,
    },
}

impl Intake {
    /// Of a log with segments of this length whose last record, these bytes, is at `at`; one without records begins there.
    pub(crate) fn new(segment_bytes: u64, at: PhysicalOffset, own: Bytes) -> Self {
        Self { segment_bytes, at: at.0, own, buffer: BytesMut::new(), skip: 0 }
    }

    /// Whether the master's log has this log's last record where this one has it: then all before is the same too, as each record has the
    /// time at which it was stored and a position.
    pub(crate) fn is_proven(&self) -> bool {
        self.own.is_empty()
    }

    /// Takes a piece; one without bytes says only where the master is.
    ///
    /// # Errors
    /// [`Error::Elsewhere`], [`Error::Parted`].
    pub(crate) fn push(&mut self, at: PhysicalOffset, bytes: &[u8]) -> Result<(), Error> {
        let expected = PhysicalOffset(self.at + self.buffer.len() as u64);
        if at != expected {
            return Err(Error::Elsewhere { found: at, expected });
        }
        let (known, new) = bytes.split_at(self.own.len().min(bytes.len()));
        if !self.own.starts_with(known) {
            return Err(Error::Parted { at });
        }
        self.own.advance(known.len());
        self.at += known.len() as u64;
        self.buffer.extend_from_slice(new);
        Ok(())
    }

    /// The whole records that are there, of one segment; call until `None`, which asks for more bytes.
    ///
    /// # Errors
    /// [`Error::NoRecord`].
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            self.skip_blank();
            if self.skip > 0 {
                return Ok(None);
            }
            let (whole, blank) = self.look()?;
            if whole > 0 {
                self.at += whole as u64;
                return Ok(Some(self.buffer.split_to(whole).freeze()));
            }
            match blank {
                Some(bytes) => self.skip = bytes,
                None => return Ok(None),
            }
        }
    }

    fn skip_blank(&mut self) {
        let skipped = self.buffer.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.buffer.advance(skipped);
        self.at += skipped as u64;
        self.skip -= skipped as u64;
    }

    /// How many bytes at the front are whole records, and the length of the blank that follows them.
    fn look(&self) -> Result<(usize, Option<u64>), Error> {
        let mut whole = 0;
        while whole < RECORDS_BYTES_MAX
            && let Some(head) = self.buffer.get(whole..whole + BLANK_BYTES)
        {
            let at = self.at + whole as u64;
            let left = self.segment_bytes - at % self.segment_bytes;
            let no_record = |problem: String| Error::NoRecord { at: PhysicalOffset(at), problem };
            match record::peek(head).map_err(|error| no_record(error.to_string()))? {
                Peek::Record { bytes } if u64::from(bytes) + BLANK_BYTES as u64 > left => {
                    return Err(no_record(format!("it has {bytes} bytes, and {left} are left in its segment")));
                }
                Peek::Record { bytes } if self.buffer.len() < whole + bytes as usize => break,
                Peek::Record { bytes } => whole += bytes as usize,
                Peek::Blank { bytes } if u64::from(bytes) == left => return Ok((whole, Some(left))),
                Peek::Blank { bytes } => {
                    return Err(no_record(format!("a blank of {bytes} bytes, and {left} are left in its segment")));
                }
                Peek::Nothing => return Err(no_record("nothing is written there".to_owned())),
            }
        }
        Ok((whole, None))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use proptest::prelude::*;
    use types::{Message, QueueId, QueueOffset, Timestamp, TopicName};

    use super::*;

    const SEGMENT_BYTES: u64 = 4096;

    /// A log with bodies of these lengths, and where its records are.
    fn log(bodies: &[usize]) -> (Vec<u8>, Vec<(u64, Bytes)>) {
        let (mut log, mut records) = (Vec::new(), Vec::new());
        for (offset, body) in (0..).zip(bodies) {
            let body = Bytes::from(vec![b'x'; body % 2000]);
            let message = Message::new(TopicName::new("t").expect("valid"), body);
            let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let encoded = record::encode(&message, QueueId(0), host).expect("fits");
            let left = SEGMENT_BYTES - log.len() as u64 % SEGMENT_BYTES;
            if encoded.total_bytes() + BLANK_BYTES as u64 > left {
                log.extend(record::blank(left as u32));
                log.resize(log.len() + left as usize - BLANK_BYTES, 0);
            }
            let at = log.len() as u64;
            let record = encoded.place(QueueOffset(offset), PhysicalOffset(at), Timestamp(1));
            log.extend_from_slice(&record);
            records.push((at, record));
        }
        (log, records)
    }

    proptest! {
        #[test]
        fn records_come_out_whole_however_the_log_is_cut(bodies: Vec<usize>, cuts: Vec<usize>, from: usize) {
            let (log, records) = log(&bodies);
            let first = from % (records.len() + 1);
            let own = first.checked_sub(1).map(|last| records[last].clone());
            let (start, own) = own.unwrap_or_default();
            let mut intake = Intake::new(SEGMENT_BYTES, PhysicalOffset(start), own);
            let (mut taken, mut at) = (Vec::new(), start as usize);
            for cut in cuts.iter().map(|cut| cut % 300).chain([log.len()]) {
                let end = log.len().min(at + cut);
                intake.push(PhysicalOffset(at as u64), &log[at..end]).expect("it goes on");
                at = end;
                while let Some(records) = intake.take().expect("records") {
                    taken.push(records);
                }
            }
            let expected: Vec<&[u8]> = records[first..].iter().map(|(_, record)| &record[..]).collect();
            prop_assert_eq!(taken.concat(), expected.concat());
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes: Vec<u8>) {
            let mut intake = Intake::new(SEGMENT_BYTES, PhysicalOffset(0), Bytes::new());
            intake.push(PhysicalOffset(0), &bytes).expect("it goes on");
            while let Ok(Some(_)) = intake.take() {}
        }
    }

    #[test]
    fn what_does_not_go_on_is_refused() {
        let mut intake = Intake::new(SEGMENT_BYTES, PhysicalOffset(100), Bytes::new());
        let elsewhere = Error::Elsewhere { found: PhysicalOffset(0), expected: PhysicalOffset(100) };
        assert_eq!(intake.push(PhysicalOffset(0), &[]), Err(elsewhere));
        intake.push(PhysicalOffset(100), &[0; 8]).expect("it goes on");
        assert!(matches!(intake.take(), Err(Error::NoRecord { at: PhysicalOffset(100), .. })));
    }

    #[test]
    fn a_log_whose_last_record_differs_has_parted() {
        let (log, records) = log(&[100, 100]);
        let (at, last) = records[1].clone();
        let mut intake = Intake::new(SEGMENT_BYTES, PhysicalOffset(at), last);
        let (begin, mut rest) = (at as usize + 10, log[at as usize + 10..].to_vec());
        intake.push(PhysicalOffset(at), &log[at as usize..begin]).expect("the same so far");
        assert_eq!((intake.is_proven(), intake.take()), (false, Ok(None)));
        *rest.last_mut().expect("bytes") ^= 1;
        let at = PhysicalOffset(begin as u64);
        assert_eq!(intake.push(at, &rest), Err(Error::Parted { at }));
        intake.push(at, &log[begin..]).expect("the same");
        assert_eq!((intake.is_proven(), intake.take()), (true, Ok(None)));
    }

    #[test]
    fn a_record_longer_than_its_segments_rest_is_refused_before_it_is_there() {
        let (log, _) = log(&[1000]);
        let mut intake = Intake::new(SEGMENT_BYTES, PhysicalOffset(SEGMENT_BYTES - 900), Bytes::new());
        intake.push(PhysicalOffset(SEGMENT_BYTES - 900), &log[..8]).expect("it goes on");
        assert!(matches!(intake.take(), Err(Error::NoRecord { .. })));
    }
}
