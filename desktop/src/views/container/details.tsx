// What a container was made with: command, environment, mounts, networks, limits, health.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { healthOf, published } from '../../container';
import { ago, memory, when, word } from '../../format';
import { to } from '../../route';
import type { ContainerDetail, ContainerSummary } from '../../types';
import { t, type Key } from '../../words';

function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="card">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

/** `wide`: names may be as long as what they name. */
function Facts({ rows, wide }: { rows: [string, ComponentChildren][]; wide?: boolean }) {
  return (
    <dl class={wide ? 'facts long-facts' : 'facts'}>
      {rows
        .filter(([, value]) => value !== undefined && value !== '' && value !== null)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** Docker's words for when a container is started again. */
const POLICIES: Record<string, Key> = { 'on-failure': 'restart_failure', 'unless-stopped': 'restart_unless', always: 'restart_always' };

const SECRET = /pass|secret|token|key|credential/i;

function Environment({ pairs }: { pairs: string[] }) {
  const [shown, setShown] = useState(false);
  const split = pairs.map((pair): [string, string] => {
    const at = pair.indexOf('=');
    return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
  });
  const secret = split.some(([name]) => SECRET.test(name));
  return (
    <>
      {split.length === 0 && <p class="muted">{t('none')}</p>}
      <Facts rows={split.map(([name, value]) => [name, <code>{SECRET.test(name) && !shown ? '••••••••' : value}</code>])} />
      {secret && (
        <label class="choice secret-choice">
          <input type="checkbox" checked={shown} onChange={(event) => setShown(event.currentTarget.checked)} />
          {t('showSecrets')}
        </label>
      )}
    </>
  );
}

export function Details({ detail, summary }: { detail: ContainerDetail; summary: ContainerSummary }) {
  const { Config: config, HostConfig: host, State: state } = detail;
  const health = state.Health;
  const networks = Object.entries(detail.NetworkSettings.Networks ?? {});
  const labels = Object.entries(config.Labels ?? {});
  return (
    <div class="cards">
      <Section title={t('process')}>
        <Facts
          rows={[
            [t('command'), <code>{[detail.Path, ...detail.Args].map(word).join(' ')}</code>],
            [t('workingDir'), config.WorkingDir && <code>{config.WorkingDir}</code>],
            [t('user'), config.User || 'root'],
            [t('hostname'), config.Hostname],
            ['PID', state.Running ? String(state.Pid) : ''],
            [t('startedAt'), state.StartedAt.startsWith('0001') ? '' : when(new Date(state.StartedAt))],
            [t('finishedAt'), state.Running || state.FinishedAt.startsWith('0001') ? '' : when(new Date(state.FinishedAt))],
            [t('restartPolicy'), t(POLICIES[host.RestartPolicy.Name] ?? 'restart_no')],
            [t('restarts'), detail.RestartCount ? String(detail.RestartCount) : ''],
          ]}
        />
      </Section>
      <Section title={t('limits')}>
        <Facts
          rows={[
            [t('memory'), host.Memory ? memory(host.Memory) : t('unlimited')],
            [t('processors'), host.NanoCpus ? String(host.NanoCpus / 1e9) : t('unlimited')],
            [t('processes'), host.PidsLimit && host.PidsLimit > 0 ? String(host.PidsLimit) : t('unlimited')],
            [t('privileged'), host.Privileged ? t('yes') : t('no')],
            [t('autoRemove'), host.AutoRemove ? t('yes') : t('no')],
            [t('logDriver'), host.LogConfig.Type],
          ]}
        />
      </Section>
      <Section title={t('networks')}>
        {networks.length === 0 && <p class="muted">{t('none')}</p>}
        {networks.map(([name, end]) => (
          <div class="block" key={name}>
            <h3>
              <a href={to('networks', end.NetworkID || name)}>{name}</a>
            </h3>
            <Facts
              rows={[
                [t('address'), end.IPAddress && <code>{end.IPAddress}</code>],
                ['IPv6', end.GlobalIPv6Address && <code>{end.GlobalIPv6Address}</code>],
                [t('gateway'), end.Gateway && <code>{end.Gateway}</code>],
                ['MAC', end.MacAddress && <code>{end.MacAddress}</code>],
                [t('aliases'), (end.Aliases ?? []).join(', ')],
              ]}
            />
          </div>
        ))}
        {published(summary.Ports).length > 0 && (
          <Facts rows={published(summary.Ports).map((port) => [t('port', { port: `${port.PrivatePort}/${port.Type}` }), <code>{`${port.IP ?? ''}:${port.PublicPort}`}</code>])} />
        )}
      </Section>
      <Section title={t('mounts')}>
        {detail.Mounts.length === 0 && <p class="muted">{t('none')}</p>}
        {detail.Mounts.map((mount) => (
          <div class="block" key={mount.Destination}>
            <h3>
              <code>{mount.Destination}</code>
            </h3>
            <Facts
              rows={[
                [mount.Type === 'volume' ? t('kind_volume') : mount.Type === 'bind' ? t('hostFolder') : mount.Type, mount.Name ? <a href={to('volumes', mount.Name)}>{mount.Name}</a> : <code>{mount.Source}</code>],
                [t('access'), mount.RW ? t('readWrite') : t('readOnly')],
              ]}
            />
          </div>
        ))}
      </Section>
      {health && (
        <Section title={t('health')}>
          <p class={`health-now ${healthOf(summary) ?? ''}`}>
            {t(health.Status as 'healthy')} · {t('failingStreak', { count: health.FailingStreak })}
          </p>
          <p class="muted">
            <code>{config.Healthcheck?.Test.slice(1).join(' ')}</code>
          </p>
          <ul class="probes">
            {[...(health.Log ?? [])].reverse().map((result) => (
              <li key={result.Start}>
                <span class={`dot ${result.ExitCode === 0 ? 'running' : 'dead'}`} aria-hidden="true" />
                <span title={when(new Date(result.Start))}>{ago(new Date(result.Start))}</span>
                <span class="muted">{t('exitCode', { code: result.ExitCode })}</span>
                <code class="cut">{result.Output.trim()}</code>
              </li>
            ))}
          </ul>
        </Section>
      )}
      <Section title={t('environment')}>
        <Environment pairs={config.Env ?? []} />
      </Section>
      {labels.length > 0 && (
        <Section title={t('labels')}>
          <Facts wide rows={labels.map(([name, value]) => [name, <code>{value}</code>])} />
        </Section>
      )}
    </div>
  );
}
