//! Filters on the server's group. The claim asks the same again: choices that are made at the same time do not see
//! each other.

use crate::decide::{Filter, Reason, Wish};
use ferrostack_model::{
    host::HostState,
    placement::{GroupPolicy, GroupWish},
};

fn of<'a>(wish: &Wish<'a>, policy: GroupPolicy) -> Option<&'a GroupWish> {
    wish.request.group.as_ref().filter(|group| group.policy == policy)
}

/// On the host of the group's other members, if it has any.
pub struct ServerGroupAffinityFilter;

impl Filter for ServerGroupAffinityFilter {
    fn name(&self) -> &'static str {
        "ServerGroupAffinityFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        match of(wish, GroupPolicy::Affinity) {
            Some(group) if !group.hosts.is_empty() && !group.hosts.contains_key(&host.host) => {
                Err("the servers of its group are on another host".into())
            }
            _ => Ok(()),
        }
    }
}

/// On a host with fewer of the group's members than its rule says.
pub struct ServerGroupAntiAffinityFilter;

impl Filter for ServerGroupAntiAffinityFilter {
    fn name(&self) -> &'static str {
        "ServerGroupAntiAffinityFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        let Some(group) = of(wish, GroupPolicy::AntiAffinity) else { return Ok(()) };
        let most = group.max_server_per_host.unwrap_or(1);
        match group.hosts.get(&host.host) {
            Some(members) if *members >= most => {
                Err(format!("{members} of the servers of its group are there, {most} may be").into())
            }
            _ => Ok(()),
        }
    }
}
