//! A verifier that also hears of revocations by the bus.

use crate::{LocalVerifier, ServiceClient};
use async_trait::async_trait;
use ferrostack_bus::{Bus, Handler, Source, Verdict};
use ferrostack_model::{
    Result,
    message::{Envelope, Revocations},
};
use ferrostack_settings::Settings;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

struct Feed(Arc<LocalVerifier>);

#[async_trait]
impl Handler for Feed {
    async fn handle(&self, message: Envelope) -> Verdict {
        match message.open::<Revocations>() {
            Ok(news) => {
                self.0.revoke(news.events);
                Verdict::Ack
            }
            Err(_) => Verdict::Reject,
        }
    }
}

/// A process's token verifier: polls identity's feed and listens to the fanout of revocations.
pub async fn verifier(
    settings: &Settings,
    bus: Arc<dyn Bus>,
    stop: CancellationToken,
) -> Result<Arc<LocalVerifier>> {
    let verifier =
        LocalVerifier::start(ServiceClient::new(&settings.credentials)?, &settings.tokens, stop.clone());
    bus.consume(Source::Revocations, 16, Arc::new(Feed(verifier.clone())), stop).await?;
    Ok(verifier)
}
