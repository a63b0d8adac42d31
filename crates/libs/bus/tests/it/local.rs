//! The contract on the bus in this process.

use ferrostack_bus::{Address, Bus, LocalBus, Settle, Source, Verdict, contract};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

macro_rules! contract {
    ($($name:ident),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            contract::$name(Arc::new(LocalBus::with(contract::tuning())), "contract").await;
        }
    )*};
}

contract!(
    delivers,
    retries_then_dies,
    retry_does_not_block,
    rejects,
    survives_a_panic,
    fans_out,
    bounds_handlers,
    unknown_queue,
    hands_over,
    shares_and_repeats,
    ten_thousand
);

/// A dead letter that cannot be put back stays; `None` settles all.
#[tokio::test]
async fn settles_all() {
    let bus = LocalBus::with(contract::tuning());
    let handler = contract::Recorder::always(Verdict::Reject);
    bus.consume(Source::Scheduler, 1, handler, CancellationToken::new()).await.unwrap();
    for n in 0..4 {
        bus.publish(&Address::Scheduler, &contract::message(n)).await.unwrap();
    }
    let dead = || async {
        let dead = bus.dead_letters(10).await.unwrap();
        (dead.len() == 4).then_some(dead)
    };
    let letters = contract::eventually("four dead letters", dead).await;
    assert_eq!(bus.dead_letters(2).await.unwrap(), letters[..2]);
    assert_eq!(bus.settle(None, Settle::Drop).await.unwrap(), 4);
    assert_eq!(bus.settle(None, Settle::Drop).await.unwrap(), 0);
}
