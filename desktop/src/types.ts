// What the page reads of the Engine API's answers.

export interface Port {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

export interface MountPoint {
  Type: string;
  Name?: string;
  Source: string;
  Destination: string;
  Mode: string;
  RW: boolean;
}

export interface EndpointSettings {
  NetworkID: string;
  IPAddress: string;
  GlobalIPv6Address: string;
  Gateway: string;
  MacAddress: string;
  Aliases: string[] | null;
}

export interface ContainerSummary {
  Id: string;
  Names: string[];
  Image: string;
  ImageID: string;
  Command: string;
  Created: number;
  State: string;
  Status: string;
  Ports: Port[];
  Labels: Record<string, string> | null;
  Mounts: MountPoint[];
  NetworkSettings: { Networks: Record<string, EndpointSettings> | null };
}

export interface HealthResult {
  Start: string;
  End: string;
  ExitCode: number;
  Output: string;
}

export interface ContainerDetail {
  Id: string;
  Name: string;
  Created: string;
  Path: string;
  Args: string[];
  Image: string;
  RestartCount: number;
  State: {
    Status: string;
    Running: boolean;
    Paused: boolean;
    OOMKilled: boolean;
    Pid: number;
    ExitCode: number;
    Error: string;
    StartedAt: string;
    FinishedAt: string;
    Health?: { Status: string; FailingStreak: number; Log: HealthResult[] | null };
  };
  Config: {
    Hostname: string;
    User: string;
    Tty: boolean;
    Env: string[] | null;
    Cmd: string[] | null;
    Entrypoint: string[] | null;
    Image: string;
    WorkingDir: string;
    Labels: Record<string, string> | null;
    Healthcheck?: { Test: string[] };
  };
  HostConfig: {
    NetworkMode: string;
    Memory: number;
    NanoCpus: number;
    PidsLimit: number | null;
    Privileged: boolean;
    AutoRemove: boolean;
    RestartPolicy: { Name: string; MaximumRetryCount: number };
    LogConfig: { Type: string };
    [more: string]: unknown;
  };
  Mounts: MountPoint[];
  NetworkSettings: { Networks: Record<string, EndpointSettings> | null; Ports: Record<string, { HostIp: string; HostPort: string }[] | null> | null };
}

export interface ImageSummary {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Created: number;
  Size: number;
  SharedSize: number;
  Containers: number;
  Labels: Record<string, string> | null;
}

export interface Volume {
  Name: string;
  Driver: string;
  Mountpoint: string;
  CreatedAt?: string;
  Labels: Record<string, string> | null;
  UsageData?: { Size: number; RefCount: number };
}

export interface Network {
  Id: string;
  Name: string;
  Created: string;
  Driver: string;
  Scope: string;
  Internal: boolean;
  Options?: Record<string, string> | null;
  EnableIPv6: boolean;
  IPAM: { Config: { Subnet?: string; Gateway?: string }[] | null };
  Labels: Record<string, string> | null;
}

export interface Info {
  ID: string;
  Name: string;
  ServerVersion: string;
  OperatingSystem: string;
  KernelVersion: string;
  Architecture: string;
  NCPU: number;
  MemTotal: number;
  Driver: string;
  CgroupVersion: string;
  CgroupDriver: string;
  DockerRootDir: string;
  LoggingDriver: string;
  DefaultRuntime: string;
  LiveRestoreEnabled: boolean;
  SecurityOptions: string[] | null;
  HttpProxy?: string;
  HttpsProxy?: string;
  RegistryConfig?: { Mirrors: string[] | null; InsecureRegistryCIDRs: string[] | null };
  DefaultAddressPools?: { Base: string; Size: number }[] | null;
  Labels: string[] | null;
  Containers: number;
  ContainersRunning: number;
  ContainersPaused: number;
  ContainersStopped: number;
  Images: number;
  Warnings: string[] | null;
}

export interface Version {
  Version: string;
  ApiVersion: string;
  Platform?: { Name: string };
  Components?: { Name: string; Version: string }[];
}

export interface DiskUsage {
  LayersSize: number;
  Images: ImageSummary[] | null;
  Containers: (ContainerSummary & { SizeRw?: number; SizeRootFs?: number })[] | null;
  Volumes: Volume[] | null;
  BuildCache: { ID: string; Description?: string; Size: number; InUse: boolean; Shared: boolean }[] | null;
}

export interface EngineEvent {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  time: number;
  timeNano: number;
}
