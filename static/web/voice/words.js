// What the voice pages say in words: why a microphone is silent, why a conversation ended, how long it is.
(function () {
  "use strict";
  const MICROPHONE = {
    NotAllowedError: ["The microphone is blocked", "This browser does not let the page hear you. Allow the microphone by the icon beside the address, or in the settings of your device, then start again."],
    NotFoundError: ["No microphone found", "Connect one, or choose one in the settings of your device, then start again."],
    NotReadableError: ["The microphone is busy", "Another program uses it, or your device does not hand it out. Close calls and recorders, then start again."],
    insecure: ["The page is not secure", "Browsers give the microphone to pages at https:// or localhost only. Open this page there."],
    lost: ["The microphone is gone", "It was unplugged or taken away. You can go on by typing, or end this and start again."],
  };
  const SAME = { SecurityError: "NotAllowedError", OverconstrainedError: "NotFoundError", AbortError: "NotReadableError" };

  const ENDS = {
    client_left: ["info", "The conversation has ended", "It is over."],
    insufficient_balance: ["bad", "The wallet is empty", "The conversation has ended because nothing is left to pay it with."],
    session_expired: ["info", "The conversation reached its longest", "One conversation lasts so long and no longer. Start another one to go on."],
    session_idle: ["info", "Nobody spoke", "Nothing was heard for so long that the conversation has ended."],
    server_stopped: ["warn", "The server is being restarted", "Start again in a moment."],
    suspended: ["bad", "This organization is suspended", "Its conversations are ended until the operator of this server lifts that."],
    invalid_api_key: ["warn", "This session is over", "You were logged out, or your rights changed. Open this page anew."],
    rate_limited: ["warn", "Too many at once", "The organization holds as many conversations as it may. Try again when another one has ended."],
  };
  const DROPPED = ["bad", "The connection broke", "The server or the network is gone. What was said so far is billed, nothing else. Start again when you are connected."];
  const REFUSED = ["bad", "The conversation could not begin", "The server did not open it. Try again in a moment."];
  const FAILED = ["bad", "The conversation has ended", "Something failed on the way to the model. Try again in a moment."];
  const NORMAL_CLOSURE = 1000;
  const ABNORMAL_CLOSURE = 1006;

  function microphone(error) {
    return MICROPHONE[error.name] || MICROPHONE[SAME[error.name]] || ["The microphone does not work", `The browser says: ${error.message || error.name}`];
  }

  // [kind, title, text] of a socket that was closed, by its code and reason, and what the last error said.
  function ending({ code, reason, wasOpen, error }) {
    if (ENDS[reason]) return ENDS[reason];
    if (error && (!wasOpen || code !== NORMAL_CLOSURE)) return ["bad", wasOpen ? FAILED[1] : REFUSED[1], error];
    if (code === NORMAL_CLOSURE && wasOpen) return ENDS.client_left;
    if (!wasOpen) return REFUSED;
    return code === ABNORMAL_CLOSURE ? DROPPED : FAILED;
  }

  // `1:05`, `1:00:05`.
  function clock(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const parts = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
    const shown = parts[0] ? parts : parts.slice(1);
    return shown.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
  }

  window.Voice = { microphoneWords: microphone, insecureWords: MICROPHONE.insecure, lostWords: MICROPHONE.lost, endingWords: ending, clock };
})();
