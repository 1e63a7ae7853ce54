//! Further processes in a container.

wire! {
    /// Body of exec create.
    pub struct ExecConfig {
        /// `user[:group]`.
        user: String = "User",
        /// All capabilities.
        privileged: bool = "Privileged",
        /// A pseudo terminal.
        tty: bool = "Tty",
        /// Terminal height and width.
        console_size: Option<[u32; 2]> = "ConsoleSize" omitempty,
        /// Attach standard input.
        attach_stdin: bool = "AttachStdin",
        /// Attach standard error.
        attach_stderr: bool = "AttachStderr",
        /// Attach standard output.
        attach_stdout: bool = "AttachStdout",
        /// Overrides the detach keys.
        detach_keys: String = "DetachKeys",
        /// `NAME=value`, added to the container's.
        env: Option<Vec<String>> = "Env",
        /// Working directory.
        working_dir: String = "WorkingDir",
        /// Program and arguments.
        cmd: Option<Vec<String>> = "Cmd",
        /// Old clients send it here too; only exec start's counts.
        detach: bool = "Detach",
    }

    /// Answer to exec create.
    pub struct ExecCreated {
        /// The exec's id.
        id: String = "Id",
    }

    /// Body of exec start.
    pub struct ExecStartConfig {
        /// Do not attach.
        detach: bool = "Detach",
        /// Must repeat what create said.
        tty: bool = "Tty",
        /// Terminal height and width.
        console_size: Option<[u32; 2]> = "ConsoleSize" omitempty,
    }

    /// Answer to exec inspect.
    pub struct ExecInspect {
        /// The exec's id.
        id: String = "ID",
        /// Whether it runs.
        running: bool = "Running",
        /// `null` until it ended.
        exit_code: Option<i32> = "ExitCode",
        /// What runs.
        process_config: ExecProcess = "ProcessConfig",
        /// Standard input is attached.
        open_stdin: bool = "OpenStdin",
        /// Standard error is attached.
        open_stderr: bool = "OpenStderr",
        /// Standard output is attached.
        open_stdout: bool = "OpenStdout",
        /// Always false.
        can_remove: bool = "CanRemove",
        /// The container's id.
        container_id: String = "ContainerID",
        /// Bytes of the detach keys, base64; mostly empty.
        detach_keys: String = "DetachKeys",
        /// In the host's pid namespace; 0 before it started.
        pid: i32 = "Pid",
    }

    /// The process part of exec inspect.
    pub struct ExecProcess {
        /// A pseudo terminal.
        tty: bool = "tty",
        /// The program.
        entrypoint: String = "entrypoint",
        /// Its arguments.
        arguments: Option<Vec<String>> = "arguments",
        /// All capabilities; absent when the daemon does not tell.
        privileged: Option<bool> = "privileged" omitempty,
        /// `user[:group]`.
        user: String = "user" omitempty,
    }
}
