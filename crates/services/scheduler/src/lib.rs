//! Filter-and-weigh scheduler.
