//! Moves of servers: their kinds and how far they are, in Nova's words.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant),+ }
        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The text in the database and in answers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
            /// The value with this text.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// Why a server moves (`migration_type`).
    Kind {
        /// To another host, shut off on the way.
        Migration = "migration",
        /// To another size, perhaps on another host.
        Resize = "resize",
        /// To another host while it runs.
        Live = "live-migration",
        /// Off a host that is gone.
        Evacuation = "evacuation",
    }
}

words! {
    /// How far a move is (`status`).
    Status {
        /// A live migration that waits for its turn.
        Queued = "queued",
        /// The destination is being asked.
        Preparing = "preparing",
        /// A live migration under way.
        Running = "running",
        /// The guest runs on the destination, or its disk has arrived there.
        PostMigrating = "post-migrating",
        /// A live migration that is over.
        Completed = "completed",
        /// A move that was asked for.
        Accepted = "accepted",
        /// A cold move whose destination is chosen.
        PreMigrating = "pre-migrating",
        /// A cold move whose disk is on its way.
        Migrating = "migrating",
        /// A cold move that waits for confirm or revert.
        Finished = "finished",
        /// The old guest is being removed.
        Confirming = "confirming",
        /// The old guest is gone.
        Confirmed = "confirmed",
        /// Going back.
        Reverting = "reverting",
        /// Gone back.
        Reverted = "reverted",
        /// Aborted by its user.
        Cancelled = "cancelled",
        /// An evacuation that is over.
        Done = "done",
        /// Failed.
        Error = "error",
        /// An evacuation that failed.
        Failed = "failed",
    }
}

impl Status {
    /// Whether nothing of it goes on any more.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::Confirmed
                | Self::Reverted
                | Self::Cancelled
                | Self::Done
                | Self::Error
                | Self::Failed
        )
    }

    /// Whether a live migration of this status may be shown, forced or aborted.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Queued | Self::Preparing | Self::Running | Self::PostMigrating)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
        }
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(*status));
            assert!(!(status.is_final() && status.is_live()), "{status:?}");
        }
        assert_eq!(Status::parse("nonsense"), None);
    }
}
