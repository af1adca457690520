//! Every decoder on its kept corpus, on valid examples, and on some thousands of mutations of both, always the same ones:
//! none panics, and none allocates more than its input is worth.

#![allow(clippy::disallowed_methods, reason = "reads the corpus, above every seam of env")]

use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use decoders::{ALL, ALLOCATED_BYTES_FREE, Target, examples};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Mutations of each target.
const MUTATIONS: u32 = 10_000;
/// Most changes of one input.
const CHANGES_MAX: u32 = 6;
/// Longest input that is made, in bytes.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// One test, so that no other thread allocates beside it.
#[test]
fn no_decoder_panics_or_allocates_without_bound() {
    assert!(allocated_by(|| drop(std::hint::black_box(vec![0_u8; 1 << 20]))) >= 1 << 20, "allocations are counted");
    for target in ALL {
        let inputs = kept(target.name).into_iter().chain(examples(target.name)).collect::<Vec<_>>();
        assert!(!inputs.is_empty(), "{} has no examples", target.name);
        inputs.iter().for_each(|input| feed(target, input));
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..MUTATIONS {
            feed(target, &mutated(&inputs, &mut rng));
        }
    }
}

/// How many bytes are allocated meanwhile, freed again or not.
fn allocated_by(run: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    run();
    region.change().bytes_allocated
}

fn feed(target: Target, input: &[u8]) {
    let name = target.name;
    let allocated = allocated_by(|| {
        let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        assert!(ended.is_ok(), "{name} panics on {input:?}");
    });
    let allocated_max = target.allocated_per_byte * input.len() + ALLOCATED_BYTES_FREE;
    assert!(
        allocated <= allocated_max,
        "{name} allocates {allocated} bytes for {}, limit is {allocated_max}: {input:?}",
        input.len(),
    );
}

/// The inputs that have found something, or that cargo-fuzz has made of the examples.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.expect("listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("readable")).collect()
}

fn mutated(inputs: &[Vec<u8>], rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = rng.choice(inputs).expect("not empty").clone();
    for _ in 0..rng.u32(1..=CHANGES_MAX) {
        change(&mut bytes, inputs, rng);
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// One change: of a bit, a byte, a number; a part doubled, removed or taken from another input.
fn change(bytes: &mut Vec<u8>, inputs: &[Vec<u8>], rng: &mut fastrand::Rng) {
    let at = rng.usize(..=bytes.len());
    let end = (at + rng.usize(..32)).min(bytes.len());
    match rng.u8(..7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        1 if at < bytes.len() => bytes[at] = rng.u8(..),
        2 => {
            let extreme = *rng.choice(&[0, 0x7f, 0x80, 0xff]).expect("not empty");
            bytes[at..end].fill(extreme);
        }
        3 => {
            let part = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, part));
        }
        4 => drop(bytes.drain(at..end)),
        5 => {
            let other = rng.choice(inputs).expect("not empty");
            let from = rng.usize(..=other.len());
            let part = other[from..(from + rng.usize(..64)).min(other.len())].to_vec();
            drop(bytes.splice(at..end, part));
        }
        _ => bytes.truncate(at),
    }
}
