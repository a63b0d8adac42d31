//! Start, stop, reboot, pause, suspend and the like: one order to the agent, and the state it leads to.

use crate::{
    action::{self, Also},
    app::App,
    jobs::{
        delete, fault,
        order::{self, News, Pending},
    },
    store::{
        Tx, guests,
        instance_actions::{self as actions, Asker, End},
        servers::{self, Fault, Server, change, states},
    },
};
use async_trait::async_trait;
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    action::Action,
    guest_change::{GuestChange, RescueSpec},
    image::ImageSource,
    message::Order,
    server::{PowerState, TaskState, VmState},
};
use serde::{Deserialize, Serialize};

/// The only step.
pub const FIRST: &str = "order";

/// What is asked of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// `os-start`
    Start,
    /// `os-stop`
    Stop,
    /// `reboot` SOFT
    RebootSoft,
    /// `reboot` HARD
    RebootHard,
    /// `pause`
    Pause,
    /// `unpause`
    Unpause,
    /// `suspend`
    Suspend,
    /// `resume`
    Resume,
    /// `changePassword`
    Password,
    /// `DELETE` where deletions are put off
    SoftDelete,
    /// `restore`
    Restore,
    /// `rescue`
    Rescue,
    /// `unrescue`
    Unrescue,
}

impl Verb {
    /// Kind of the job.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::RebootSoft | Self::RebootHard => "reboot",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Password => "changePassword",
            Self::SoftDelete => "soft_delete",
            Self::Restore => "restore",
            Self::Rescue => "rescue",
            Self::Unrescue => "unrescue",
        }
    }
    /// Name of its event in instance actions.
    pub const fn event(self) -> &'static str {
        match self {
            Self::Start => "compute_start_instance",
            Self::Stop => "compute_stop_instance",
            Self::RebootSoft | Self::RebootHard => "compute_reboot_instance",
            Self::Pause => "compute_pause_instance",
            Self::Unpause => "compute_unpause_instance",
            Self::Suspend => "compute_suspend_instance",
            Self::Resume => "compute_resume_instance",
            Self::Password => "compute_set_admin_password",
            Self::SoftDelete => "compute_soft_delete_instance",
            Self::Restore => "compute_restore_instance",
            Self::Rescue => "compute_rescue_instance",
            Self::Unrescue => "compute_unrescue_instance",
        }
    }
    fn action(self) -> Action {
        match self {
            Self::Start => Action::Start,
            Self::Stop => Action::Stop,
            Self::RebootSoft => Action::RebootSoft,
            Self::RebootHard => Action::RebootHard,
            Self::Pause => Action::Pause,
            Self::Unpause => Action::Unpause,
            Self::Suspend => Action::Suspend,
            Self::Resume => Action::Resume,
            Self::Password => Action::ChangePassword,
            Self::SoftDelete => Action::Delete,
            Self::Restore => Action::Restore,
            Self::Rescue => Action::Rescue,
            Self::Unrescue => Action::Unrescue,
        }
    }
    fn task(self) -> TaskState {
        match self {
            Self::Start => TaskState::PoweringOn,
            Self::Stop => TaskState::PoweringOff,
            Self::RebootSoft => TaskState::Rebooting,
            Self::RebootHard => TaskState::RebootingHard,
            Self::Pause => TaskState::Pausing,
            Self::Unpause => TaskState::Unpausing,
            Self::Suspend => TaskState::Suspending,
            Self::Resume => TaskState::Resuming,
            Self::Password => TaskState::UpdatingPassword,
            Self::SoftDelete => TaskState::SoftDeleting,
            Self::Restore => TaskState::Restoring,
            Self::Rescue => TaskState::Rescuing,
            Self::Unrescue => TaskState::Unrescuing,
        }
    }
    async fn order(self, app: &App, server: &Server, data: &Data) -> Result<Order> {
        let timeout_seconds = app.settings.compute.shutdown_timeout_seconds;
        Ok(match self {
            Self::Start => Order::Start,
            Self::Stop => Order::Stop { timeout_seconds },
            Self::RebootSoft => Order::RebootSoft { timeout_seconds },
            Self::RebootHard => Order::RebootHard,
            Self::Pause => Order::Change { change: GuestChange::Pause },
            Self::Unpause => Order::Change { change: GuestChange::Unpause },
            Self::Suspend => Order::Change { change: GuestChange::Suspend },
            Self::Resume => Order::Change { change: GuestChange::Resume },
            Self::Password => {
                let password = states::admin_pass(&app.db, &server.id).await?;
                let password = password
                    .ok_or_else(|| Error::conflict("The password was forgotten before it was set."))?;
                let user = admin_user(server);
                Order::Change { change: GuestChange::SetPassword { user, password } }
            }
            // As Nova: nobody waits for a guest that is not wanted any more.
            Self::SoftDelete => Order::Stop { timeout_seconds: 0 },
            Self::Restore => Order::Start,
            Self::Rescue => {
                let images = data.rescue.clone();
                let images = images.ok_or_else(|| Error::internal("a rescue without an image"))?;
                let rescue = RescueSpec {
                    image: images.image,
                    kernel: images.kernel,
                    ramdisk: images.ramdisk,
                    admin_pass: states::admin_pass(&app.db, &server.id).await?,
                    timeout_seconds,
                };
                Order::Change { change: GuestChange::Rescue { rescue: Box::new(rescue) } }
            }
            Self::Unrescue => Order::Change { change: GuestChange::Unrescue },
        })
    }
    /// The state that a failure leads to; none: as it was.
    fn failed(self) -> Option<VmState> {
        match self {
            // As in Nova: of a guest that neither runs as itself nor as what was wanted nothing else can be said.
            Self::Restore | Self::Rescue | Self::Unrescue => Some(VmState::Error),
            _ => None,
        }
    }
    /// The state it leads to.
    fn vm_state(self) -> VmState {
        match self {
            Self::Stop => VmState::Stopped,
            Self::Pause => VmState::Paused,
            Self::Suspend => VmState::Suspended,
            Self::SoftDelete => VmState::SoftDeleted,
            Self::Rescue => VmState::Rescued,
            Self::Password
            | Self::Unrescue
            | Self::Restore
            | Self::Start
            | Self::RebootSoft
            | Self::RebootHard
            | Self::Unpause
            | Self::Resume => VmState::Active,
        }
    }
}

/// The user whose password is changed, as in Nova's libvirt driver.
fn admin_user(server: &Server) -> String {
    let property =
        |name: &str| server.image.properties.get(name).map(String::as_str).filter(|v| !v.is_empty());
    match (property("os_admin_user"), property("os_type")) {
        (Some(user), _) => user.to_owned(),
        (None, Some("windows")) => "Administrator".to_owned(),
        _ => "root".to_owned(),
    }
}

/// The images that a server is rescued with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RescueImages {
    /// Of the rescue disk.
    pub image: ImageSource,
    /// Of a direct boot.
    pub kernel: Option<ImageSource>,
    /// Of a direct boot.
    pub ramdisk: Option<ImageSource>,
}

/// What the job knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// What is asked.
    pub verb: Verb,
    /// The order to the agent.
    #[serde(default)]
    pub order: Pending,
    /// Why it fails.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// The state it leads to, if not the verb's own.
    #[serde(default)]
    pub then: Option<VmState>,
    /// What a server is rescued with.
    #[serde(default)]
    pub rescue: Option<RescueImages>,
    /// An image that was being made of a server that is deleted.
    #[serde(default)]
    pub image: Option<String>,
}

impl Data {
    /// A job for `verb`.
    pub fn of(verb: Verb) -> Self {
        Self { verb, order: Pending::default(), fault: None, then: None, rescue: None, image: None }
    }
}

/// The job.
pub struct Power {
    kind: &'static str,
    steps: Vec<Box<dyn Step<App>>>,
}

impl Power {
    /// The kind of job of `verb`.
    pub fn of(verb: Verb) -> Self {
        Self { kind: verb.kind(), steps: vec![Box::new(Give)] }
    }
    /// One of each kind.
    pub fn all() -> impl Iterator<Item = Self> {
        use Verb::{
            Password, Pause, RebootHard, Rescue, Restore, Resume, SoftDelete, Start, Stop, Suspend, Unpause,
            Unrescue,
        };
        [
            Start, Stop, RebootHard, Pause, Unpause, Suspend, Resume, Password, SoftDelete, Restore, Rescue,
            Unrescue,
        ]
        .into_iter()
        .map(Self::of)
    }
    /// `os-start`
    pub fn start() -> Self {
        Self::of(Verb::Start)
    }
    /// `os-stop`
    pub fn stop() -> Self {
        Self::of(Verb::Stop)
    }
    /// `reboot`, soft and hard
    pub fn reboot() -> Self {
        Self::of(Verb::RebootHard)
    }
}

#[async_trait]
impl JobKind<App> for Power {
    fn kind(&self) -> &'static str {
        self.kind
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// The server is left in the state it was in: what its guest really does the next report tells.
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data()?;
        let fault = data.fault.unwrap_or_else(|| fault::of_job(job));
        change::task_failed(tx, &job.target, &fault, data.verb.failed()).await?;
        states::forget_admin_pass(tx, &job.target).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
        actions::event_end(tx, &job.target, request, data.verb.event(), end, true).await
    }
}

/// Begins `verb` if the server's state allows it, else 409; the job's id.
pub async fn begin(app: &App, server: Server, verb: Verb, asker: Asker<'_>) -> Result<String> {
    begin_with(app, server, Data::of(verb), asker, &Also::Nothing).await
}

/// [`begin`] of a job that knows more, with something else in the same transaction.
pub async fn begin_with(
    app: &App,
    server: Server,
    data: Data,
    asker: Asker<'_>,
    also: &Also<'_>,
) -> Result<String> {
    let verb = data.verb;
    let begin = action::Begin {
        action: verb.action(),
        task: verb.task(),
        name: verb.kind(),
        event: verb.event(),
        kind: verb.kind(),
        first_step: FIRST,
        data: &data,
        interrupts: "The operation was replaced by a hard reboot.",
    };
    action::begin_with(app, server, asker, &begin, also).await
}

struct Give;

impl Give {
    async fn order(&self, app: &App, job: &Job, mut data: Data) -> Result<Outcome> {
        let server = servers::get(&app.db, &job.target).await?;
        let order = data.verb.order(app, &server, &data).await?;
        let host = server.host.ok_or_else(|| Error::conflict("The instance has no host."))?;
        let mut tx = app.db.begin_write().await?;
        let generation = change::next_generation(&mut tx, &server.id)
            .await?
            .ok_or_else(|| servers::not_found(&server.id))?;
        guests::ordered(&mut tx, &server.id, &host, generation).await?;
        data.order = Pending::sent(app, &host, generation);
        let request_id = job.request_id.as_deref();
        let message = order::message(&job.id, &server.id, generation, order, request_id)?;
        let outcome = data.order.wait(job, false)?.data(&data)?.in_tx(tx);
        Ok(outcome.send(Address::Agent(host), message))
    }

    async fn done(&self, app: &App, job: &Job, data: Data, power: PowerState) -> Result<Outcome> {
        let vm_state = data.then.unwrap_or(data.verb.vm_state());
        if let Some(image) = &data.image {
            delete::remove_unfinished(app, image, job.request_id.as_deref()).await?;
        }
        let now = Timestamp::now();
        let mut tx = app.db.begin_write().await?;
        change::settle(&mut tx, &job.target, vm_state, power, now).await?;
        match data.verb {
            Verb::SoftDelete => states::put_off(&mut tx, &job.target, now).await?,
            Verb::Restore => states::keep(&mut tx, &job.target).await?,
            Verb::Password | Verb::Rescue => states::forget_admin_pass(&mut tx, &job.target).await?,
            _ => {}
        }
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, data.verb.event(), actions::SUCCESS, true).await?;
        Outcome::next().data(&data).map(|o| o.in_tx(tx))
    }
}

#[async_trait]
impl Step<App> for Give {
    fn name(&self) -> &'static str {
        FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if data.order.generation == 0 {
            return self.order(app, job, data).await;
        }
        let fail = |mut data: Data, message: &str, private: String| {
            data.fault = Some(fault::fault(message, "", &private));
            Outcome::fail(Error::new(ErrorKind::Internal, message).with_internal(private)).data(&data)
        };
        match data.order.news(app, job).await? {
            News::Done(power) => self.done(app, job, data, power).await,
            News::Failed { message, details, .. } => {
                let private = format!("{}: {message} {details}", data.order.host);
                fail(data, &message, private)
            }
            News::Silent => {
                let private = format!("host {} does not answer", data.order.host);
                fail(data, "The host of the instance does not answer.", private)
            }
            News::Repeat => self.order(app, job, data).await,
            News::Ask => data.order.wait(job, true)?.data(&data),
            News::Wait => data.order.wait(job, false)?.data(&data),
        }
    }
}
