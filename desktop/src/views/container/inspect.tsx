// The document itself, as the engine gives it.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, get } from '../../api';
import { CommandLine, CopyButton } from '../../parts/copy';
import { Failure, Loading } from '../../parts/empty';
import { t } from '../../words';

/** Names, texts and figures of JSON in colours of their own. */
function coloured(text: string) {
  const parts = text.split(/("(?:[^"\\]|\\.)*"\s*:?)/);
  return parts.map((part, place) => {
    if (place % 2 === 0) return part;
    return <span key={place} class={part.endsWith(':') ? 'json-name' : 'json-text'}>{part}</span>;
  });
}

export function Inspect({ target, command }: { target: string; command: string }) {
  const [text, setText] = useState<string>();
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    get(target).then((answer) => setText(JSON.stringify(answer, null, 2)), setError);
  }, [target]);
  if (error) return <Failure error={error} />;
  if (text === undefined) return <Loading />;
  return (
    <>
      <CommandLine command={command} />
      <div class="code-box">
        <CopyButton text={text} label={t('copy')} />
        <pre tabIndex={0}>{coloured(text)}</pre>
      </div>
    </>
  );
}
