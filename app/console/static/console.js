// What pages do with a script beyond what they do without: times in the reader's zone, buttons that copy, no refreshing
// while nobody looks, and a warning when refreshing fails. htmx refreshes the parts that say so.
(() => {
  const STYLES = {
    full: { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' },
    time: { hour: '2-digit', minute: '2-digit' },
    near: { hour: '2-digit', minute: '2-digit' },
    day: { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' },
  };

  function localise() {
    for (const time of document.querySelectorAll('time[data-style]')) {
      const moment = new Date(time.dateTime);
      const isNear = time.dataset.style === 'near' && moment.toDateString() !== new Date().toDateString();
      const style = STYLES[isNear ? 'day' : time.dataset.style];
      time.textContent = moment.toLocaleString(undefined, { ...style, hourCycle: 'h23' });
    }
  }

  function zoneAt(moment) {
    const parts = new Intl.DateTimeFormat(undefined, { timeZoneName: 'short' }).formatToParts(moment);
    return parts.find((part) => part.type === 'timeZoneName').value;
  }

  // A filter has times in UTC for the service, and in the reader's zone on the page, like the list below it.
  function localiseFilter(form) {
    const inputs = form.querySelectorAll('input[type=datetime-local]');
    for (const input of inputs) {
      const moment = new Date(`${input.defaultValue}Z`);
      if (input.defaultValue && !Number.isNaN(moment.getTime())) {
        input.value = new Date(moment - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
      }
    }
    form.addEventListener('formdata', (event) => {
      for (const input of inputs) {
        if (input.value) {
          event.formData.set(input.name, new Date(input.value).toISOString().slice(0, 16));
        }
      }
    });
    for (const zone of document.querySelectorAll('[data-zone]')) {
      zone.textContent = zoneAt(new Date());
    }
  }

  function addCopyButton(place) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'quiet';
    button.textContent = 'Copy';
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(place.querySelector('pre').textContent);
      button.textContent = 'Copied';
      setTimeout(() => {
        button.textContent = 'Copy';
      }, 2000);
    });
    place.append(button);
  }

  function openTarget() {
    const target = document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
    }
  }

  let refreshedAt = new Date();
  let warning = null;

  // Comes also for an error that is not shown.
  function noteRefreshed(event) {
    if (event.detail.ctx.response.status >= 400) {
      return;
    }
    refreshedAt = new Date();
    warning?.remove();
    warning = null;
  }

  // Appended once, so that a screen reader says it once.
  function warnOf(event) {
    const status = event.detail.ctx?.response?.status;
    const reason = status && status < 500 ? `the service answers with ${status}` : 'the service does not answer';
    const time = refreshedAt.toLocaleTimeString(undefined, { ...STYLES.time, hourCycle: 'h23' });
    if (!warning) {
      warning = document.createElement('p');
      warning.className = 'note bad stale';
      document.querySelector('.messages').append(warning);
    }
    const text = `Not refreshed since ${time}: ${reason}.`;
    if (warning.textContent !== text) {
      warning.textContent = text;
    }
  }

  localise();
  openTarget();
  // On a narrow screen, the tabs scroll.
  document.querySelector('.tabs [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  document.querySelectorAll('form.filters').forEach(localiseFilter);
  // Browsers offer the clipboard to secure pages only: https, and http on this host.
  if (navigator.clipboard) {
    document.querySelectorAll('.copyable').forEach(addCopyButton);
  }
  addEventListener('hashchange', openTarget);
  document.addEventListener('htmx:after:swap', localise);
  document.addEventListener('htmx:after:swap', noteRefreshed);
  document.addEventListener('htmx:error', warnOf);
  document.addEventListener('htmx:response:error', warnOf);
  document.addEventListener('htmx:before:request', (event) => {
    if (document.hidden) {
      event.preventDefault();
    }
  });
})();
