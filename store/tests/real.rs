//! The same store on the machine's own disk, clock and threads.

mod common;

use common::{Ledger, check, send};
use env::Env;
use store::{Flush, Options, Store};

async fn open(options: &Options) -> (Store, Ledger) {
    let mut ledger = Ledger::default();
    let store = Store::open(&Env::real(), options, &mut ledger).expect("opens");
    (store, ledger)
}

#[tokio::test]
async fn a_real_disk_keeps_everything() {
    let dir = tempfile::tempdir().expect("makes");
    for flush in [Flush::Async, Flush::Sync] {
        let dir = dir.path().join(format!("{flush:?}"));
        let options = Options { dir, ..common::options(flush) };
        let (mut store, mut ledger) = open(&options).await;
        for n in 0..200 {
            let appended = send(&mut store, &mut ledger, "orders", n % 3, &vec![n as u8; n as usize * 3]).await;
            if n % 50 == 0 {
                store.marks().durable(appended.end).await.expect("durable");
                store.begin_checkpoint(&ledger);
            }
        }
        store.marks().visible(store.marks().appended_to()).await.expect("visible");
        check(&mut store, &ledger).await;
        store.close(&ledger).await.expect("closes");

        let (mut store, mut restored) = open(&options).await;
        assert_eq!((restored.lines.len(), restored.applied), (200, 0));
        assert_eq!(restored.lines, ledger.lines);
        send(&mut store, &mut restored, "orders", 0, b"not closed").await;
        store.abandon().await;

        let (mut store, found) = open(&options).await;
        assert_eq!((found.lines.len(), found.applied), (201, 1));
        check(&mut store, &found).await;
        store.abandon().await;
    }
}
