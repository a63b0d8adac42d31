//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use ferrostack_settings::HypervisorKind;
use std::path::PathBuf;

/// An OpenStack-compatible cloud in one binary.
///
/// `ferrostack up` starts identity (Keystone v3), image (Glance v2), compute (Nova v2.1), network (the part of Neutron that
/// servers need), a scheduler and a compute agent in this process, on SQLite files below the state directory.
/// Then `. DIR/openrc` and use the `openstack` client.
#[derive(Parser)]
#[command(name = "ferrostack", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Start the whole cloud in this process; Ctrl-C ends it, guests go on running
    Up(StateArgs),
    /// Write settings, passwords, openrc and clouds.yaml into a state directory without starting anything
    Prepare(StateArgs),
    /// Look into and mend a cloud
    Admin {
        /// Settings file [default: the built-in settings and FERROSTACK__* variables]
        #[arg(long, global = true, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(subcommand)]
        command: AdminCommand,
    },
}

/// What runs the guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hypervisor {
    /// Real guests through libvirt
    Libvirt,
    /// Guests that exist only in memory, for testing clients and tools
    Fake,
}

impl From<Hypervisor> for HypervisorKind {
    fn from(value: Hypervisor) -> Self {
        match value {
            Hypervisor::Libvirt => Self::Libvirt,
            Hypervisor::Fake => Self::Fake,
        }
    }
}

#[derive(Args, Clone, Debug)]
pub struct StateArgs {
    /// Everything the cloud keeps: databases, images, guests' disks, passwords, openrc
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ferrostack", env = "FERROSTACK_STATE")]
    pub state: PathBuf,
    /// What runs the guests
    #[arg(long, value_enum, default_value = "libvirt")]
    pub hypervisor: Hypervisor,
    /// Number of hosts (only with --hypervisor fake)
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub hosts: u32,
    /// The libvirt to drive, any connection URI
    #[arg(long, value_name = "URI", default_value = "qemu:///system")]
    pub libvirt_uri: String,
    /// Added to every port (identity 5000, image 9292, compute 8774, network 9696, …), for several clouds on one machine
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port_offset: u16,
    /// Settings to start from; what the other options say wins
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Database of every service: postgres://… or sqlite:DIR [default: SQLite files in the state directory]
    #[arg(long, value_name = "URL", env = "FERROSTACK_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Message bus: amqp://… or local: [default: local:]
    #[arg(long, value_name = "URL", env = "FERROSTACK_BUS_URL", hide_env_values = true)]
    pub bus_url: Option<String>,
}

#[derive(Subcommand)]
pub enum AdminCommand {
    /// Print the effective settings as TOML, passwords hidden
    Config,
    /// List compute jobs, newest first
    Jobs {
        /// Also those that have ended
        #[arg(long)]
        all: bool,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
    /// The keys that tokens are signed with (identity.key_directory)
    TokenKeys {
        #[command(subcommand)]
        command: TokenKeysCommand,
    },
    /// List messages that could not be handled
    DeadLetters {
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Send dead letters again
    DeadLettersRetry {
        /// Only the message with this id
        #[arg(long)]
        id: Option<String>,
    },
    /// Forget dead letters
    DeadLettersDrop {
        /// Only the message with this id
        #[arg(long)]
        id: Option<String>,
    },
}

#[derive(Subcommand)]
pub enum TokenKeysCommand {
    /// Make one more key: published at once, it signs when every verifier knows it (identity.key_maturity_seconds)
    Rotate,
    /// List the keys, oldest first, with what each is doing
    List,
    /// Remove the keys that no live token can need
    Prune,
}
