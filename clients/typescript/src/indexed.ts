/** Open a database of the browser, with the object stores that are named. */
export function openIndexed(name: string, stores: string[]): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => {
      for (const store of stores) opening.result.createObjectStore(store);
    };
    opening.onsuccess = () => {
      const database = opening.result;
      database.onversionchange = () => database.close(); // else it cannot be deleted while a tab is open
      resolve(database);
    };
    opening.onerror = opening.onblocked = () => reject(opening.error ?? new Error("blocked"));
  });
}

/** Wait for a request of a transaction. */
export function answered<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Wait until a transaction is stored. */
export function committed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}
