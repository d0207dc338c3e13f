// Small pictures for the history.

const SIDE = 320;

/** Return a small picture of a picture's or a clip's file; null where the browser can't show it. */
export async function thumbnailOf(blob) {
  try {
    return await (blob.type.startsWith("video/") ? ofClip(blob) : ofPicture(blob));
  } catch {
    return null;
  }
}

async function ofPicture(blob) {
  const bitmap = await createImageBitmap(blob);
  try {
    return await reduced(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

async function ofClip(blob) {
  const video = document.createElement("video");
  video.muted = true;
  video.src = URL.createObjectURL(blob);
  try {
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = reject;
    });
    return await reduced(video, video.videoWidth, video.videoHeight);
  } finally {
    URL.revokeObjectURL(video.src);
  }
}

function reduced(source, width, height) {
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
