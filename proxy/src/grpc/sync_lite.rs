//! `SyncLiteSubscription`: not built, and said so in the protocol's own way.

use grpc::v2;

use crate::status::{self, HasCode};
use crate::validate::Invalid;

pub(super) fn call() -> v2::SyncLiteSubscriptionResponse {
    let refusal = Invalid::LiteNotBuilt;
    v2::SyncLiteSubscriptionResponse { status: Some(status::of(refusal.code(), refusal.to_string())) }
}
