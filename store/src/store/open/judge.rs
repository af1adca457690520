//! Whether what a start found is a log that it may go on with: nothing that was durable may be missing.

use types::PhysicalOffset;

use super::OpenError;
use super::recover::Recovery;
use crate::commit_log::End;
use crate::files::name_of;
use crate::recovery::proof::Proof;
use crate::recovery::{MISSING, NOT_EXPIRED, Stop, search};

impl Recovery<'_> {
    /// What a start does not read must be there at least.
    pub(super) fn find_missing(&self, start: PhysicalOffset) -> Result<(), OpenError> {
        let missing = self.segments.missing_before(start.0)?;
        let Some(first) = missing.first().copied().map(PhysicalOffset) else { return Ok(()) };
        let path = self.segments.path(first.0);
        if self.options.accept_loss_at == Some(first) {
            tracing::error!(first = %path.display(), segments = missing.len(), "a loss is accepted: segments are missing");
            return Ok(());
        }
        let (problem, proof) = (MISSING.to_owned(), self.layout.checkpoints.join(name_of(start.0)));
        Err(OpenError::Damaged { path, at: first, problem, durable_to: start, proof })
    }

    /// Whether the log may begin where it does: what is before `begins` has expired, what is missing behind it was removed by somebody
    /// else. `checkpoint` is the one that was used. Where a loss `is_accepted` that cuts the log off, what told of an expiry may have been
    /// behind the cut: only one place can be accepted, so this is none.
    pub(super) fn judge_begin(
        &self,
        begins: u64,
        checkpoint: Option<PhysicalOffset>,
        is_accepted: bool,
    ) -> Result<(), OpenError> {
        let first = self.segments.first();
        // Apache's log does not say what of it has expired.
        if first <= begins || !self.is_ours {
            return Ok(());
        }
        let (path, at) = (self.segments.path(begins), PhysicalOffset(begins));
        if is_accepted || self.options.accept_loss_at == Some(at) {
            tracing::error!(first, begins, "a loss is accepted: the log's front is missing");
            return Ok(());
        }
        let (durable_to, proof) = match checkpoint {
            Some(at) => (at, self.layout.checkpoints.join(name_of(at.0))),
            None => (PhysicalOffset(first), self.segments.path(first)),
        };
        Err(OpenError::Damaged { path, at, problem: format!("{MISSING}, and {NOT_EXPIRED}"), durable_to, proof })
    }

    /// Whether the log can end where it is wanted to, and `has_begun` there to follow from the state that stands for its front. Nothing was
    /// removed or cut off before that is known.
    pub(super) fn judge_wanted_end(&self, end: End, has_begun: bool) -> Result<(), OpenError> {
        let Some(wanted) = self.options.end_at else { return Ok(()) };
        let problem = match end.at == wanted {
            true if has_begun => return Ok(()),
            true => format!("the state that stands for its front lies behind {wanted}, where it is to be cut off"),
            false => format!("no record ends at {wanted}, where it is to be cut off, but one at {}", end.at),
        };
        Err(OpenError::Unusable { path: self.layout.commit_log.clone(), problem })
    }

    /// Whether the log may end where a replay ended; true if only because that loss is accepted.
    pub(super) fn judge(&self, end: End, stop: Stop, proof: Option<Proof>) -> Result<bool, OpenError> {
        let is_torn = !matches!(stop, Stop::Nothing { .. });
        let Some((at, problem)) = stop.place(self.segments)? else { return Ok(false) };
        match proof.filter(|proof| proof.durable_to > end.at.0) {
            None if is_torn => {
                tracing::warn!(end = %end.at, at, problem, "the log is cut off before a record that is not whole");
            }
            None => {}
            Some(proof) if self.options.accept_loss_at == Some(PhysicalOffset(at)) => {
                let records = search::count(self.segments, at)?;
                let (file, durable_to) = (self.segments.path(self.segments.base_of(at)), proof.durable_to);
                tracing::error!(
                    file = %file.display(), at, problem, durable_to, records,
                    "a loss is accepted: the log is cut off here, and the whole records behind go with it"
                );
                return Ok(true);
            }
            Some(Proof { durable_to, file: proof, .. }) => {
                let path = self.segments.path(self.segments.base_of(at));
                let (at, durable_to) = (PhysicalOffset(at), PhysicalOffset(durable_to));
                return Err(OpenError::Damaged { path, at, problem, durable_to, proof });
            }
        }
        Ok(false)
    }
}
