// Networks: a list, and a picture of who can reach what.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, path, post, remove as removeAt } from '../api';
import { remembered, useCell } from '../cell';
import { nameOf } from '../container';
import { word } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Empty, Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { List, type Column } from '../parts/list';
import { toast } from '../parts/toast';
import { go, to } from '../route';
import { containers, networks } from '../state';
import type { ContainerSummary, Network } from '../types';
import { t } from '../words';
import { Inspect } from './container/inspect';
import { Picture } from './network-picture';

const shape = remembered<'list' | 'picture'>('networks.shape', 'picture', ['list', 'picture']);
const PREDEFINED = ['bridge', 'host', 'none'];

export function membersOf(network: Network, all: ContainerSummary[]): ContainerSummary[] {
  return all.filter((container) => Object.keys(container.NetworkSettings.Networks ?? {}).includes(network.Name));
}

/** Does it and says so; a failure in the engine's words. */
async function attempt(text: string, command: string, work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    toast({ kind: 'done', text, command });
    networks.later();
    containers.later();
    return true;
  } catch (error) {
    const { message, hint } = error as ApiError;
    toast({ kind: 'failed', text: message, hint });
    return false;
  }
}

function Create({ close }: { close: () => void }) {
  const [name, setName] = useState('');
  const [subnet, setSubnet] = useState('');
  const [internal, setInternal] = useState(false);
  const [ipv6, setIpv6] = useState(false);
  const command = ['ferry network create', subnet && `--subnet ${subnet}`, internal && '--internal', ipv6 && '--ipv6', word(name || 'backend')].filter(Boolean).join(' ');
  const body = { Name: name, Internal: internal, EnableIPv6: ipv6, ...(subnet ? { IPAM: { Config: [{ Subnet: subnet }] } } : {}) };
  const done = async () => {
    if (await attempt(t('networkCreated', { name }), command, () => post('/networks/create', body))) close();
  };
  return (
    <Dialog title={t('newNetwork')} close={close}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void done();
        }}
      >
        <label>
          {t('name')}
          <input value={name} required autofocus onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <label>
          {t('subnet')}
          <input value={subnet} placeholder="172.30.0.0/24" onInput={(event) => setSubnet(event.currentTarget.value)} />
        </label>
        <div class="choices">
          <label class="choice">
            <input type="checkbox" checked={internal} onChange={(event) => setInternal(event.currentTarget.checked)} />
            {t('internal')}
          </label>
          <label class="choice">
            <input type="checkbox" checked={ipv6} onChange={(event) => setIpv6(event.currentTarget.checked)} />
            {t('ipv6')}
          </label>
        </div>
        <CommandLine command={command} />
        <footer>
          <button type="button" onClick={close}>
            {t('cancel')}
          </button>
          <button class="primary" type="submit">
            {t('createVolume')}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function Remove({ network, close }: { network: Network; close: () => void }) {
  const command = `ferry network rm ${word(network.Name)}`;
  return (
    <Dialog title={t('removeTitle', { name: network.Name })} close={close}>
      <p>{t('removeNetworkText')}</p>
      <CommandLine command={command} />
      <footer>
        <button onClick={close}>{t('cancel')}</button>
        <button
          class="primary danger"
          onClick={() => {
            close();
            void attempt(t('networkRemoved', { name: network.Name }), command, () => removeAt(path`/networks/${network.Id}`));
          }}
        >
          {t('remove')}
        </button>
      </footer>
    </Dialog>
  );
}

const askRemove = (network: Network) => ask((close) => <Remove network={network} close={close} />);

export function Networks() {
  useEffect(() => networks.show(), []);
  useEffect(() => containers.show(), []);
  const all = useCell(networks);
  const boxes = useCell(containers) ?? [];
  const error = useCell(networks.error);
  const drawn = useCell(shape) === 'picture';
  const columns: Column<Network>[] = [
    {
      key: 'name',
      title: t('name'),
      width: 'minmax(0, 1.6fr)',
      sort: (network) => network.Name,
      cell: (network) => (
        <a class="name" href={to('networks', network.Id)}>
          {network.Name}
        </a>
      ),
    },
    { key: 'driver', title: t('driver'), width: '90px', sort: (network) => network.Driver, cell: (network) => <span class="muted">{network.Driver}</span> },
    { key: 'subnet', title: t('subnet'), width: 'minmax(0, 1.4fr)', wide: true, cell: (network) => <code class="cut">{(network.IPAM.Config ?? []).map((config) => config.Subnet).join(', ')}</code> },
    { key: 'members', title: t('containers'), width: '100px', sort: (network) => -membersOf(network, boxes).length, cell: (network) => membersOf(network, boxes).length || <span class="muted">–</span> },
    {
      key: 'actions',
      title: '',
      width: '44px',
      end: true,
      cell: (network) =>
        PREDEFINED.includes(network.Name) ? null : (
          <button class="ghost icon-only" title={t('remove')} aria-label={`${t('remove')} ${network.Name}`} onClick={() => askRemove(network)}>
            <Icon name="trash" size={16} />
          </button>
        ),
    },
  ];
  return (
    <>
      <header class="view-head">
        <h1>{t('networks')}</h1>
        <div class="segments" role="group" aria-label={t('networks')}>
          <button aria-pressed={drawn} onClick={() => (shape.value = 'picture')}>
            {t('picture')}
          </button>
          <button aria-pressed={!drawn} onClick={() => (shape.value = 'list')}>
            {t('list')}
          </button>
        </div>
        <span class="spread">
          <button class="primary" onClick={() => ask((close) => <Create close={close} />)}>
            <Icon name="plus" size={15} />
            {t('newNetwork')}
          </button>
        </span>
      </header>
      {error && <Failure error={error} />}
      {!all && !error && <Loading />}
      {all && drawn && <Picture networks={all} containers={boxes.filter((container) => container.State === 'running' || container.State === 'paused')} />}
      {all && !drawn && <List label={t('networks')} rows={all} columns={columns} id={(network) => network.Id} name={(network) => network.Name} open={(network) => go('networks', network.Id)} />}
    </>
  );
}

export function NetworkPage({ id }: { id: string }) {
  useEffect(() => networks.show(), []);
  useEffect(() => containers.show(), []);
  const all = useCell(networks);
  const boxes = useCell(containers) ?? [];
  const [chosen, setChosen] = useState('');
  const network = all?.find((one) => one.Id === id || one.Name === id);
  const members = network ? membersOf(network, boxes) : [];
  // What shares the network of the machine, or has none, can be in no other.
  const alone = (container: ContainerSummary) => ['host', 'none'].some((name) => container.NetworkSettings.Networks?.[name]);
  const others = boxes.filter((container) => !members.includes(container) && !alone(container) && (container.State === 'running' || container.State === 'created' || container.State === 'exited'));
  const change = (verb: 'connect' | 'disconnect', container: ContainerSummary) => {
    const name = nameOf(container);
    const text = t(verb === 'connect' ? 'connectedTo' : 'disconnectedFrom', { name, network: network!.Name });
    void attempt(text, `ferry network ${verb} ${word(network!.Name)} ${word(name)}`, () => post(path`/networks/${network!.Id}/${verb}`, { Container: container.Id }));
  };
  return (
    <>
      <header class="view-head">
        <a class="back" href={to('networks')}>
          {t('networks')}
        </a>
        <span class="muted" aria-hidden="true">
          /
        </span>
        <h1>{network?.Name ?? ''}</h1>
        {network && !PREDEFINED.includes(network.Name) && (
          <span class="spread">
            <button class="danger" onClick={() => askRemove(network)}>
              <Icon name="trash" size={15} />
              {t('remove')}
            </button>
          </span>
        )}
      </header>
      {all && !network && <p class="muted">{t('networkGone')}</p>}
      {network && (
        <div class="stack">
          <section class="card">
            <h2>{t('connected')}</h2>
            {members.length === 0 && <Empty icon="networks" title={t('noContainersOn')} />}
            <ul class="plain">
              {members.map((container) => (
                <li key={container.Id}>
                  <a href={to('containers', container.Id)}>{nameOf(container)}</a>
                  <code>{container.NetworkSettings.Networks?.[network.Name]?.IPAddress}</code>
                  <span class="muted">{(container.NetworkSettings.Networks?.[network.Name]?.Aliases ?? []).join(', ')}</span>
                  <button onClick={() => change('disconnect', container)}>{t('disconnect')}</button>
                </li>
              ))}
            </ul>
            {network.Driver === 'bridge' && others.length > 0 && (
              <form
                class="tools inline-form"
                onSubmit={(event) => {
                  event.preventDefault();
                  const container = others.find((one) => one.Id === chosen) ?? others[0];
                  if (container) change('connect', container);
                }}
              >
                <select aria-label={t('containers')} value={others.some((one) => one.Id === chosen) ? chosen : others[0].Id} onChange={(event) => setChosen(event.currentTarget.value)}>
                  {others.map((container) => (
                    <option key={container.Id} value={container.Id}>
                      {nameOf(container)}
                    </option>
                  ))}
                </select>
                <button type="submit">{t('connect')}</button>
              </form>
            )}
          </section>
          <section class="card">
            <h2>{t('inspect')}</h2>
            <Inspect target={path`/networks/${network.Id}`} command={`ferry network inspect ${word(network.Name)}`} />
          </section>
        </div>
      )}
    </>
  );
}
