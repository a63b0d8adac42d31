//! Hostile texts through a real libvirt parser.
