//! The byte form of the timer machine.
//!
//! Entries in memory (a count, then each as [`Waits`]), the position up to which parts were sealed, the parts (a count, then
//! each). Up to version 2 of the snapshot it was the entries alone: all that waited.

use super::*;

impl Timer {
    /// Writes the whole state but for what is in the parts' files; reserved messages count as waiting.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        put_u64(out, (self.near.len() + self.young.len() + self.delivering.len()) as u64);
        self.held().for_each(|waits| waits.encode(out));
        put_u64(out, self.sealed_to.0);
        put_u64(out, self.parts.len() as u64);
        self.parts.iter().for_each(|part| part.encode(out));
    }

    /// Reads what [`Timer::snapshot`] wrote; `has_parts` for a form that has them.
    pub(crate) fn restore(input: &mut Input<'_>, has_parts: bool, bounds: Bounds) -> Result<Self, Malformed> {
        let mut held = Vec::new();
        for _ in 0..input.count()? {
            held.push(Waits::decode(input)?);
        }
        let mut timer = Self::new(bounds);
        if has_parts {
            timer.sealed_to = input.physical_offset()?;
            for _ in 0..input.count()? {
                timer.parts.push(Part::decode(input)?);
            }
        }
        let names = || timer.parts.iter().map(|part| part.name);
        let is_ordered = names().is_sorted_by(|one, other| one.to <= other.from)
            && names().all(|Name { from, to, seen_to }| from < to && to <= seen_to && to <= timer.sealed_to);
        if !is_ordered {
            return Err(Malformed { what: "parts of the timer" });
        }
        held.into_iter().for_each(|waits| timer.stored(waits));
        Ok(timer)
    }
}
