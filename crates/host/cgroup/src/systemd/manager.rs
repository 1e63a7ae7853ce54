//! systemd's manager, by its D-Bus interface.

use std::path::Path;
use std::time::Duration;

use ferry_dbus::{Call, Connection, Message, Peer, Value};

use super::SystemdError;

/// Where it listens itself, for root: on machines without a bus, and before the bus is up.
const PRIVATE: &str = "/run/systemd/private";

const MANAGER: Peer = Peer { name: "org.freedesktop.systemd1", path: "/org/freedesktop/systemd1" };
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const RULE: &str = "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// Pauses in milliseconds, while a unit of the same name is on its way out.
const PAUSES: [u64; 12] = [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// A connection to it.
#[derive(Debug)]
pub(crate) struct Manager {
    connection: Connection,
    /// Others may send signals through the bus, too.
    has_bus: bool,
}

type Properties = Vec<(&'static str, Value)>;

impl Manager {
    /// Over the system bus, or directly where there is none; for calls that together take no longer than that.
    pub(crate) fn connect(patience: Duration) -> Result<Manager, SystemdError> {
        if !super::is_there() {
            return Err(SystemdError::NotRunning);
        }
        let failed = |place: &str| {
            let place = place.to_owned();
            move |source| SystemdError::Connect { place, source }
        };
        match Connection::system(patience) {
            Ok(Some(connection)) => return Ok(Manager { connection, has_bus: true }),
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => {
                return Err(failed("the system bus")(error));
            }
            Ok(None) | Err(_) => {}
        }
        let connection = Connection::peer(Path::new(PRIVATE), patience).map_err(failed(PRIVATE))?;
        Ok(Manager { connection, has_bus: false })
    }

    fn call(
        &mut self,
        method: &str,
        arguments: &[Value],
    ) -> Result<Message, ferry_dbus::CallError> {
        self.connection.call(&Call { peer: &MANAGER, interface: INTERFACE, method, arguments })
    }

    /// Its version, in its words.
    pub(crate) fn version(&mut self) -> Result<String, SystemdError> {
        let arguments = [Value::text(INTERFACE), Value::text("Version")];
        let call =
            Call { peer: &MANAGER, interface: PROPERTIES, method: "Get", arguments: &arguments };
        Ok(self.connection.call(&call)?.text())
    }

    /// Starts a transient unit, and waits until it has started.
    pub(crate) fn start(&mut self, unit: &str, properties: Properties) -> Result<(), SystemdError> {
        self.connection.listen("JobRemoved");
        if self.has_bus {
            self.connection.add_match(RULE)?;
            self.call("Subscribe", &[])?;
        }
        let arguments = [
            Value::text(unit),
            Value::text("fail"),
            list(properties),
            Value::Array("(sa(sv))", Vec::new()),
        ];
        let mut pauses = PAUSES.iter();
        let job = loop {
            match (self.call("StartTransientUnit", &arguments), pauses.next()) {
                (Ok(job), _) => break job,
                // The container's last run: systemd has not heard yet that it is over, or it failed.
                (Err(error), Some(pause)) if error.is(UNIT_EXISTS) => {
                    self.call("ResetFailedUnit", &[Value::text(unit)]).ok();
                    std::thread::sleep(Duration::from_millis(*pause));
                }
                (Err(error), _) => return Err(error.into()),
            }
        };
        self.await_job(unit, &job)
    }

    fn await_job(&mut self, unit: &str, job: &Message) -> Result<(), SystemdError> {
        loop {
            let signal = self.connection.signal();
            let signal =
                signal.map_err(|source| SystemdError::Silent { unit: unit.to_owned(), source })?;
            // Number, path, unit, result.
            let arguments = signal.arguments();
            let text = |at: usize| arguments.get(at).and_then(Value::as_text).unwrap_or_default();
            if signal.sender != job.sender || text(1) != job.text() {
                continue;
            }
            return match text(3) {
                "done" => Ok(()),
                result => {
                    Err(SystemdError::Job { unit: unit.to_owned(), result: result.to_owned() })
                }
            };
        }
    }

    /// Stops a unit, if it is there. It is gone a moment later.
    pub(crate) fn stop(&mut self, unit: &str) {
        self.call("StopUnit", &[Value::text(unit), Value::text("replace")]).ok();
    }

    /// Sets properties of a running unit until it ends. When this returns, systemd has written what follows from them.
    pub(crate) fn set(&mut self, unit: &str, properties: Properties) -> Result<(), SystemdError> {
        self.call("SetUnitProperties", &[Value::text(unit), Value::Bool(true), list(properties)])?;
        // It writes after it has answered, and before it takes the next call.
        self.version().map(drop)
    }
}

fn list(properties: Properties) -> Value {
    let properties = properties.into_iter();
    Value::Array("(sv)", properties.map(|(name, value)| Value::property(name, value)).collect())
}
